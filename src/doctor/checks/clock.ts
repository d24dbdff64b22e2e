import { type Found, ok, skipped, warning } from '../check.ts';
import type { OriginProbe } from '../host/origin-probe.ts';

/** Tokens and signed URLs are good for minutes, certificates for days. */
const MAX_OFFSET_MS = 30_000;

/** This host's clock against those of the origins that answered: nobody else is asked. */
export async function checkClock(world: {
  readonly probes: Promise<readonly OriginProbe[]>;
}): Promise<Found[]> {
  const offsets = (await world.probes).flatMap(({ origin, answer }) =>
    answer?.clock === undefined ? [] : [{ origin, offsetMs: answer.clock.oursMs - answer.clock.theirsMs }],
  );
  if (offsets.length === 0) return [skipped(undefined, 'no configured origin told its time')];
  // One origin may be wrong; the one in the middle seldom is.
  const middle = offsets.sort((a, b) => a.offsetMs - b.offsetMs)[Math.floor(offsets.length / 2)];
  const offsetMs = middle?.offsetMs ?? 0;
  const seconds = Math.round(Math.abs(offsetMs) / 1_000);
  if (Math.abs(offsetMs) <= MAX_OFFSET_MS)
    return [ok(undefined, `within ${Math.max(1, seconds)} s of ${middle?.origin}`)];
  return [
    warning(
      undefined,
      `this host's clock is ${seconds} s ${offsetMs > 0 ? 'ahead of' : 'behind'} ${middle?.origin}`,
      'Set the clock, and keep it set by NTP or chrony: tokens, signed URLs and certificates go by it',
    ),
  ];
}
