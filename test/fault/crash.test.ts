import assert from 'node:assert/strict';
import { it } from 'node:test';
import { crashRounds } from './crash/rounds.ts';

/** `npm run crash` does two hundred by the same code. */
const ROUNDS = 16;

it(`after each of ${ROUNDS} kills under load no byte is wrong, and what was settled is still here`, async (t) => {
  const seed = String(Date.now());
  t.diagnostic(`seed ${seed}`);
  const report = await crashRounds({ rounds: ROUNDS, roundsPerDirectory: ROUNDS / 2, seed });
  assert.deepEqual(report.wrong, [], `seed ${seed}`);
  assert.deepEqual(report.errors, []);
  assert.equal(report.refusedReads, 0);
  assert.ok(report.checkedPieces > 50, `only ${report.checkedPieces} pieces were settled`);
  assert.ok(report.smallQuota.checkedPieces > 0, 'evictions left nothing to be looked at');
  for (const { keptPieces, checkedPieces } of [report, report.smallQuota])
    assert.ok(keptPieces >= 0.95 * checkedPieces, `${keptPieces} of ${checkedPieces} pieces, seed ${seed}`);
  // Quick is a matter of the machine; an index that is rebuilt or scrubbed at start would not be.
  assert.ok(Math.max(...report.restartMs) < 15_000, report.restartMs.join(' '));
});
