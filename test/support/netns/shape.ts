/** One direction of a link. */
export interface LinkShape {
  /** Of whole Ethernet frames: with frames of {@link MTU_BYTES} TCP carries 0.993 of it. */
  readonly bytesPerSecond: number;
  /** How much the queue in front of the link holds, in milliseconds of the link; what comes beyond is dropped. */
  readonly queueMs?: number;
}

/** Jumbo frames: headers cost 0.7 % instead of 4.4 %, and the kernel handles a sixth of the packets. */
export const MTU_BYTES = 9000;
/**
 * The most that TCP hands to a link in one go. Each such bundle takes one place in the queue, and streams settle at
 * bundles of different sizes: with the usual 64 KiB one of eight was measured to keep 3.3 times the rate of the others
 * for as long as it ran, with two frames all had the same.
 */
export const MAX_BUNDLE_BYTES = 2 * MTU_BYTES;
/** Deep enough that a single stream fills the link, shallow enough that a question does not wait long behind pieces. */
const DEFAULT_QUEUE_MS = 25;
/** Tokens are refilled on timer ticks of at most 4 ms (CONFIG_HZ=250); twice that, so that no tick is lost. */
const BURST_SECONDS = 0.008;
/** tbf cuts what is larger than its burst into frames; one frame must fit, and a few save most of the cutting. */
const MIN_BURST_BYTES = 4 * MTU_BYTES;
/** With less room than a frame or two for each of a dozen streams, TCP waits for its timers instead of for the link. */
const MIN_QUEUE_BYTES = 16 * MTU_BYTES;

/** What follows `tc qdisc replace dev DEV root`. */
export function tbfArguments(shape: LinkShape): string[] {
  const { bytesPerSecond, queueMs = DEFAULT_QUEUE_MS } = shape;
  if (!(bytesPerSecond >= 1000 && bytesPerSecond <= 10e9))
    throw new RangeError(`a link takes 1 kB/s to 10 GB/s, not ${bytesPerSecond} bytes per second`);
  const burst = burstBytes(bytesPerSecond);
  // What the burst lets through at once waits in the queue as well.
  const limit = Math.round(Math.max(MIN_QUEUE_BYTES, (bytesPerSecond * queueMs) / 1000)) + burst;
  return ['tbf', 'rate', `${Math.round(bytesPerSecond * 8)}bit`, 'burst', `${burst}b`, 'limit', `${limit}b`];
}

export function burstBytes(bytesPerSecond: number): number {
  return Math.round(Math.max(MIN_BURST_BYTES, bytesPerSecond * BURST_SECONDS));
}
