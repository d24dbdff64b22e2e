import { createHash } from 'node:crypto';
import type { Member, MemberView, PeerId } from '../../../peer/member.ts';
import type { Realm } from '../../../peer/messages.ts';
import type { Digest } from '../../../src/blob/digest.ts';

export const REALM = '0123456789abcdef' as Realm;

export function digestNumber(n: number): Digest {
  return `sha256:${createHash('sha256').update(`blob ${n}`).digest('hex')}` as Digest;
}

export function memberNumber(n: number, zone = '', epoch = 1): Member {
  const hash = createHash('sha256').update(`member ${n}`).digest('hex');
  return { id: `12D3Koo${hash.slice(0, 45)}` as PeerId, data: [], control: [], zone, epoch };
}

/** Sorted by id. */
export function members(count: number, zoneOf: (n: number) => string = () => ''): Member[] {
  return sorted(Array.from({ length: count }, (_, n) => memberNumber(n, zoneOf(n))));
}

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** A view that a test changes by hand. */
export class TestView implements MemberView {
  self: Member;
  #live: readonly Member[];
  readonly suspects = new Set<PeerId>();
  readonly #listeners = new Set<() => void>();

  constructor(self: Member, live: readonly Member[]) {
    this.self = self;
    this.#live = sorted(live);
  }

  live(): readonly Member[] {
    return this.#live;
  }

  find(id: PeerId): Member | undefined {
    return this.#live.find((member) => member.id === id);
  }

  suspect(id: PeerId): void {
    this.suspects.add(id);
  }

  isSuspect(id: PeerId): boolean {
    return this.suspects.has(id);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Suspicions end as well. */
  become(live: readonly Member[]): void {
    this.#live = sorted(live);
    this.suspects.clear();
    for (const listener of this.#listeners) listener();
  }
}

function sorted(all: readonly Member[]): Member[] {
  return [...all].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}
