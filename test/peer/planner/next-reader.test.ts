import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { AskHandle } from '../../../peer/planner/actions.ts';
import { Crowd } from '../../../peer/planner/crowd.ts';
import { nextReader, type SegmentReading } from '../../../peer/planner/next-reader.ts';
import { OpenAsk } from '../../../peer/planner/open-ask.ts';
import { PlannedPeer } from '../../../peer/planner/peers.ts';
import type { UrgencyLevel } from '../../../src/blob/urgency.ts';
import { digestNumber, memberNumber, REALM } from './support.ts';

const ALONE_MS = 100;

describe('nextReader', () => {
  let crowd: Crowd;
  /** By reader: leases that run, and all that it got. */
  let leases: number[];
  let granted: number[];
  let asks: OpenAsk[];
  const now = 1_000;

  beforeEach(() => {
    crowd = new Crowd(2_000);
    leases = [0, 0, 0, 0];
    granted = [0, 0, 0, 0];
    asks = [];
  });

  function waits(n: number, more: { leases?: number; urgency?: UrgencyLevel } = {}): OpenAsk {
    const member = memberNumber(n);
    const peer = new PlannedPeer(member.id, member);
    crowd.joined(member.id, now);
    const open = new OpenAsk(
      n as AskHandle,
      peer,
      {
        realm: REALM,
        digest: digestNumber(1),
        segment: 0,
        size: 1 << 24,
        wanted: 1,
        underway: 0,
        held: 0,
        leases: more.leases ?? 8,
        urgency: more.urgency ?? 'demand',
        load: 0,
        failed: [],
        hedge: 0,
      },
      now,
    );
    asks[n] = open;
    return open;
  }

  function next(at = now, isLate = false): number | 'full' | 'later' | undefined {
    const of = (values: readonly number[], peer: PlannedPeer): number =>
      values[asks.findIndex((open) => open?.peer === peer)] ?? 0;
    const reading: SegmentReading = {
      crowd,
      parameters: { aloneMs: ALONE_MS, firstLeases: 2 },
      leases: leases.reduce((sum, count) => sum + count, 0),
      leasesOf: (peer) => of(leases, peer),
      grantedTo: (peer) => of(granted, peer),
    };
    const found = nextReader(asks.filter(Boolean), reading, at, isLate);
    return found instanceof OpenAsk ? Number(found.handle) : found;
  }

  it('is nobody where nobody would read', () => {
    waits(0, { leases: 0 });
    waits(1, { leases: 0 });
    assert.equal(next(), undefined);
  });

  it('is the first reader for a few pieces, and for all once it is alone', () => {
    waits(0);
    leases = [1];
    assert.equal(next(), 0);
    leases = [2];
    assert.equal(next(), 'later');
    leases = [9];
    assert.equal(next(now + ALONE_MS), 0);
  });

  it('is whoever of a crowd has read least, on-demand before prefetch', () => {
    waits(0);
    waits(1, { urgency: 'prefetch' });
    waits(2);
    granted = [2, 0, 1];
    assert.equal(next(), 2);
    leases = [0, 0, 2];
    assert.equal(next(), 0);
  });

  it('is none of a crowd while enough is read, however late', () => {
    waits(0);
    waits(1);
    leases = [2, crowd.width.pieces - 2];
    assert.equal(next(), 'full');
    assert.equal(next(now, true), 'full');
  });

  it('is not yet whoever had its share of the segment, unless nobody else came', () => {
    waits(0);
    crowd.joined(memberNumber(3).id, now);
    granted = [8];
    assert.equal(next(), 'later');
    assert.equal(next(now, true), 0);
  });
});
