import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { PeerScores } from '../../../peer/hunt/peer-scores.ts';
import { WantedPiece } from '../../../peer/hunt/wanted-piece.ts';
import { memberNumber } from '../planner/support.ts';

const { id } = memberNumber(1);
const other = memberNumber(2).id;
const MIB = 1 << 20;

describe('who has been unhelpful', () => {
  it('is so for twice as long each time, until it delivers', () => {
    const scores = new PeerScores();
    scores.hasBeenUnhelpful(id, 0, false, 5_000, 160_000);
    scores.hasBeenUnhelpful(id, 1_000, false, 5_000, 160_000);
    assert.deepEqual([scores.isUnhelpful(id, 4_999), scores.isUnhelpful(id, 5_000)], [true, false]);
    scores.hasBeenUnhelpful(id, 6_000, false, 5_000, 160_000);
    assert.deepEqual([scores.isUnhelpful(id, 15_999), scores.isUnhelpful(id, 16_000)], [true, false]);
    scores.hasBeenUnhelpful(id, 17_000, false, 5_000, 160_000);
    scores.delivered(id, MIB, 4_000, 18_000, false);
    assert.equal(scores.isUnhelpful(id, 18_000), true);
    scores.delivered(id, MIB, 100, 19_000, true);
    assert.equal(scores.isUnhelpful(id, 19_000), false);
  });

  it('by its silence is forgiven at its first word, and not at its second', () => {
    const scores = new PeerScores();
    scores.hasBeenUnhelpful(id, 0, true, 5_000, 160_000);
    scores.heardFrom(id, 1_000);
    assert.equal(scores.isUnhelpful(id, 1_000), false);
    scores.hasBeenUnhelpful(id, 2_000, true, 5_000, 160_000);
    scores.heardFrom(id, 3_000);
    assert.equal(scores.isUnhelpful(id, 3_000), true);
  });

  it('and not by its silence is not forgiven for a word', () => {
    const scores = new PeerScores();
    scores.hasBeenUnhelpful(id, 0, false, 5_000, 160_000);
    scores.heardFrom(id, 1_000);
    assert.equal(scores.isUnhelpful(id, 1_000), true);
  });

  it('is named for a piece only as long as it is unhelpful, unless it failed with that very piece', () => {
    const piece = new WantedPiece(0, 0);
    piece.warn([id, other]);
    piece.fail(other, 'silent');
    piece.warn([]);
    assert.deepEqual([...piece.failed], [[other, 'silent']]);
  });
});

describe('a transfer that is compared with others', () => {
  it('is outclassed by two pieces begun later that came ten times as fast, unless it delivers as well', () => {
    const scores = new PeerScores();
    assert.equal(scores.compared(id, 0, 4_000, 500), 'unknown');
    scores.arrived(undefined, 100, 200);
    scores.arrived(other, 200, 300);
    assert.equal(scores.compared(id, 0, 4_000, 500), 'outclassed');
    assert.equal(scores.compared(id, 0, 900, 500), 'overtaken');
    scores.delivered(id, MIB, 200, 400, true);
    assert.equal(scores.compared(id, 0, 4_000, 500), 'overtaken');
  });

  it('is usual where everything takes as long', () => {
    const scores = new PeerScores();
    scores.arrived(other, 0, 3_000);
    assert.equal(scores.compared(id, 1_000, 4_000, 3_000), 'usual');
  });
});
