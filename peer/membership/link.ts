import type { PeerId } from '../member.ts';
import { LIFE_STATES, type Message, type SummaryItem } from './message.ts';
import type { LifeKey } from './row.ts';

/** The wire under a link: messages leave in order; `close` lets what was sent get there first, within reason. */
export interface LinkWire {
  send(message: Message): void;
  close(): void;
}

/** How far a row of one life has come: its version, then how bad the news is. */
export function stampOf(item: Pick<SummaryItem, 'version' | 'state'>): number {
  return item.version * LIFE_STATES.length + LIFE_STATES.indexOf(item.state);
}

/** A conversation with one member, and what it is known to know: nothing is told twice. */
export class Link {
  readonly peer: PeerId;
  readonly isOutbound: boolean;
  readonly wire: LinkWire;
  readonly openedMs: number;
  /** When its last message came. */
  heardMs: number;
  isGreeted = false;
  /** Set while its table's hash differs from ours. */
  differsSinceMs: number | undefined;
  summarySentMs = Number.NEGATIVE_INFINITY;
  readonly #stamps = new Map<LifeKey, number>();
  readonly #beats = new Map<LifeKey, number>();

  constructor(options: { peer: PeerId; isOutbound: boolean; wire: LinkWire; nowMs: number }) {
    this.peer = options.peer;
    this.isOutbound = options.isOutbound;
    this.wire = options.wire;
    this.openedMs = options.nowMs;
    this.heardMs = options.nowMs;
  }

  knows(key: LifeKey, stamp: number): boolean {
    return (this.#stamps.get(key) ?? -1) >= stamp;
  }

  noteKnown(key: LifeKey, stamp: number): void {
    if (!this.knows(key, stamp)) this.#stamps.set(key, stamp);
  }

  knowsBeat(key: LifeKey, count: number): boolean {
    return (this.#beats.get(key) ?? 0) >= count;
  }

  noteBeat(key: LifeKey, count: number): void {
    if (!this.knowsBeat(key, count)) this.#beats.set(key, count);
  }

  noteHash(isEqual: boolean, nowMs: number): void {
    if (isEqual) this.differsSinceMs = undefined;
    else this.differsSinceMs ??= nowMs;
  }

  /** Forgets lives that nobody speaks of any more. */
  keepOnly(isNeeded: (key: LifeKey) => boolean): void {
    for (const key of this.#stamps.keys()) if (!isNeeded(key)) this.#stamps.delete(key);
    for (const key of this.#beats.keys()) if (!isNeeded(key)) this.#beats.delete(key);
  }
}
