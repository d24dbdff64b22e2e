import type { SimClock } from './clock.ts';

/** One direction of a node's link. */
export interface Port {
  /** Bytes per ms. */
  readonly rate: number;
  readonly transfers: Set<Transfer>;
  /** What each transfer may have that is not held back at its other end. */
  level: number;
  /** Bytes that went through. */
  total: number;
}

export interface Transfer {
  readonly up: Port;
  readonly down: Port;
  left: number;
  rate: number;
  since: number;
  version: number;
  readonly done: () => void;
}

export function port(bytesPerSecond: number): Port {
  return { rate: bytesPerSecond / 1000, transfers: new Set(), level: Number.POSITIVE_INFINITY, total: 0 };
}

/** Transfers that share their links like TCP does: fairly at each end, what one can't use goes to the others. */
export class Links {
  readonly #clock: SimClock;

  constructor(clock: SimClock) {
    this.#clock = clock;
  }

  start(up: Port, down: Port, bytes: number, done: () => void): Transfer {
    const transfer = { up, down, left: bytes, rate: 0, since: this.#clock.now, version: 0, done };
    up.transfers.add(transfer);
    down.transfers.add(transfer);
    this.#share(up, down);
    return transfer;
  }

  stop(transfer: Transfer): void {
    if (!transfer.up.transfers.delete(transfer)) return;
    this.#account(transfer);
    transfer.down.transfers.delete(transfer);
    transfer.version += 1;
    this.#share(transfer.up, transfer.down);
  }

  /** The two ports and those at the other ends of their transfers: further away a change is small. */
  #share(up: Port, down: Port): void {
    up.level = level(up, (transfer) => transfer.down.level);
    down.level = level(down, (transfer) => transfer.up.level);
    const near = new Set<Port>([up, down]);
    for (const transfer of up.transfers) near.add(transfer.down);
    for (const transfer of down.transfers) near.add(transfer.up);
    for (const one of near)
      one.level = level(one, (transfer) => (transfer.up === one ? transfer.down : transfer.up).level);
    for (const one of near) for (const transfer of one.transfers) this.#pace(transfer);
  }

  #account(transfer: Transfer): void {
    const bytes = Math.min(transfer.left, (this.#clock.now - transfer.since) * transfer.rate);
    transfer.left -= bytes;
    transfer.up.total += bytes;
    transfer.down.total += bytes;
    transfer.since = this.#clock.now;
  }

  #pace(transfer: Transfer): void {
    const rate = Math.min(transfer.up.level, transfer.down.level);
    if (transfer.rate > 0 && Math.abs(rate / transfer.rate - 1) < 0.01) return;
    this.#account(transfer);
    transfer.rate = rate;
    transfer.version += 1;
    const { version } = transfer;
    this.#clock.in(transfer.left / rate, () => {
      if (transfer.version !== version) return;
      this.#account(transfer);
      transfer.up.total += transfer.left;
      transfer.down.total += transfer.left;
      transfer.left = 0;
      transfer.up.transfers.delete(transfer);
      transfer.down.transfers.delete(transfer);
      this.#share(transfer.up, transfer.down);
      transfer.done();
    });
  }
}

/** Fills a port: who is held back at its other end takes what it can, the rest is shared evenly. */
function level({ rate, transfers }: Port, cap: (transfer: Transfer) => number): number {
  if (transfers.size === 0) return rate;
  let left = rate;
  let count = transfers.size;
  if (count > 1) {
    const caps = Array.from(transfers, cap).sort((a, b) => a - b);
    for (const one of caps) {
      if (one >= left / count) break;
      left -= one;
      count -= 1;
      if (count === 0) return Math.max(left, rate / transfers.size);
    }
  }
  return left / count;
}
