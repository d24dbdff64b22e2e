import { LRUCache } from 'lru-cache';
import type { PeerId } from '../member.ts';

/**
 * failed: no answer, or a broken connection. slow: too late. wrong: it sent bytes that nobody vouched for. lied: this node
 * has seen that what it vouched for is wrong.
 */
export type Trouble = 'failed' | 'slow' | 'wrong' | 'lied';

/** Troubles in a short time add up; half of it is forgotten in this time. */
const HALF_LIFE_MS = 30_000;
const WEIGHTS = { failed: 1, slow: 0.5 } as const;
const MAX_PENALTY = 5;
/** What a piece that came well takes off: a busy member may fail now and then. */
const RELIEF = 0.9;
/** Quiet for so long, and it is as if nothing had been. */
const FORGET_MS = 24 * 3_600_000;
const MAX_PEERS = 4_096;

/** How long it lasts, the first time, and at most; each next time it lasts `growth` times as long. */
const TERMS = {
  rest: { firstMs: 5_000, growth: 2, maxMs: 120_000 },
  wrong: { firstMs: 60_000, growth: 4, maxMs: 6 * 3_600_000 },
  lied: { firstMs: 600_000, growth: 4, maxMs: 24 * 3_600_000 },
} as const;

export interface Quarantine {
  readonly peer: PeerId;
  readonly why: 'wrong' | 'lied';
  readonly forMs: number;
}

interface Record {
  penalty: number;
  atMs: number;
  rests: number;
  restUntilMs: number;
  strikes: number;
  quarantine: { why: 'wrong' | 'lied'; untilMs: number } | undefined;
}

/**
 * How members have behaved towards this node, forgotten with time. Two measures that must not be mixed: a member that fails is
 * *avoided* for a while, but what it vouched for stays good (the attester of a piece may be long dead); one that was
 * caught with wrong bytes is *quarantined*, and its word counts for nothing.
 */
export class Standing {
  readonly #now: () => number;
  readonly #onQuarantine: (quarantine: Quarantine) => void;
  readonly #records = new LRUCache<PeerId, Record>({ max: MAX_PEERS });

  /**
   * @param parts.now milliseconds, monotonic.
   * @param parts.onQuarantine once for each, when it begins: to be logged and counted.
   */
  constructor(parts: { now: () => number; onQuarantine: (quarantine: Quarantine) => void }) {
    this.#now = parts.now;
    this.#onQuarantine = parts.onQuarantine;
  }

  /** A piece came from it in time, and matched. */
  delivered(peer: PeerId): void {
    const record = this.#records.get(peer);
    if (record !== undefined) record.penalty *= RELIEF;
  }

  note(peer: PeerId, trouble: Trouble): void {
    const record = this.#aged(peer);
    if (trouble === 'wrong' || trouble === 'lied') {
      this.#quarantine(peer, record, trouble);
      return;
    }
    record.penalty += WEIGHTS[trouble];
    if (record.penalty < MAX_PENALTY) return;
    record.penalty = 0;
    record.restUntilMs = this.#now() + termMs('rest', record.rests);
    record.rests += 1;
  }

  /** Nothing of what it says is believed, whoever passes it on. */
  isQuarantined(peer: PeerId): boolean {
    return (this.#records.peek(peer)?.quarantine?.untilMs ?? 0) > this.#now();
  }

  /** Not to be asked or fetched from now, while there is anybody else. */
  isAvoided(peer: PeerId): boolean {
    return (this.#records.peek(peer)?.restUntilMs ?? 0) > this.#now() || this.isQuarantined(peer);
  }

  /** 0 (avoided) to 1 (no trouble): to choose among holders, and for status. */
  score(peer: PeerId): number {
    if (this.isAvoided(peer)) return 0;
    const record = this.#records.peek(peer);
    return record === undefined ? 1 : 1 / (1 + this.#decayed(record));
  }

  /** Those that are quarantined now, with the time that is left. */
  quarantines(): Quarantine[] {
    const nowMs = this.#now();
    const found: Quarantine[] = [];
    for (const [peer, { quarantine }] of this.#records.entries())
      if (quarantine !== undefined && quarantine.untilMs > nowMs)
        found.push({ peer, why: quarantine.why, forMs: quarantine.untilMs - nowMs });
    return found;
  }

  #quarantine(peer: PeerId, record: Record, why: 'wrong' | 'lied'): void {
    const nowMs = this.#now();
    const current = record.quarantine;
    // One discovery shows many wrong pieces: that is one strike, unless it turns out to be worse than was known.
    if (current !== undefined && current.untilMs > nowMs && (current.why === 'lied' || why === 'wrong'))
      return;
    const forMs = termMs(why, record.strikes);
    record.strikes += 1;
    record.quarantine = { why, untilMs: Math.max(current?.untilMs ?? 0, nowMs + forMs) };
    this.#onQuarantine({ peer, why, forMs });
  }

  #aged(peer: PeerId): Record {
    const nowMs = this.#now();
    let record = this.#records.get(peer);
    const quietSinceMs = record === undefined ? 0 : Math.max(record.atMs, record.quarantine?.untilMs ?? 0);
    if (record === undefined || nowMs - quietSinceMs >= FORGET_MS) {
      record = { penalty: 0, atMs: nowMs, rests: 0, restUntilMs: 0, strikes: 0, quarantine: undefined };
      this.#records.set(peer, record);
    }
    record.penalty = this.#decayed(record);
    // After a quiet spell of its own length a rest is forgotten as well.
    if (nowMs - record.atMs > TERMS.rest.maxMs * 2) record.rests = 0;
    record.atMs = nowMs;
    return record;
  }

  #decayed(record: Record): number {
    return record.penalty * 2 ** (-(this.#now() - record.atMs) / HALF_LIFE_MS);
  }
}

function termMs(kind: keyof typeof TERMS, before: number): number {
  const { firstMs, growth, maxMs } = TERMS[kind];
  return Math.min(maxMs, firstMs * growth ** before);
}
