import { LRUCache } from 'lru-cache';
import type { Digest } from '../../src/blob/digest.ts';
import type { PeerId } from '../member.ts';
import type { Realm } from '../messages.ts';

/** How long a word against somebody counts. */
const HEARSAY_MS = 10 * 60_000;
const REALM_MS = 60 * 60_000;
/** Members that one accuser may bring into doubt at a time, and blobs that it may do so for. */
const MAX_ACCUSED = 3;
const MAX_ACCUSATIONS = 64;
const MAX_ENTRIES = 4_096;

/**
 * counts: as anybody's. contests: no piece is taken on it, but what it contradicts is not taken either. ignored: as if it
 * were not there.
 */
export type Weight = 'counts' | 'contests' | 'ignored';

/**
 * Whose word counts for less on one blob, or in one realm, though not elsewhere. Three reasons, by what they prove:
 *
 * - **heard**: another member accuses it, and shows nothing. Any member may say anything, and one key makes as many members
 *   as it likes; if accusations cut members off, a liar would cut off the honest ones, and then be alone to be believed. So
 *   what is heard never touches a member's standing, however many say it. It costs the accused one thing: nothing is taken
 *   on its word on that one blob for a while, and the origin is read instead. It still contests: else a liar would accuse
 *   whoever has proven the blob, and then be believed. Pieces that are here stay; only a signed word that disagrees removes
 *   them. And an accuser has a budget, three members and 64 blobs at a time: so a liar costs the origin some reads, and
 *   never the cluster.
 * - **caught** in a realm that the operator did not list: this node has seen that its attestation was wrong. But it read from
 *   an origin that some client named, and such an origin may give each node other bytes, just to set members against
 *   each other. So its word is ignored in that realm, and counts as before in all others.
 * - **doubted**: its proven word disagrees with what this node has read from the origin, twice. One of the two is wrong, and
 *   only a proof here can tell which: it contests.
 */
export class Distrust {
  readonly #now: () => number;
  /** By whom and what; the value is when it ends. */
  readonly #entries: LRUCache<string, number>;
  /** Of each accuser, what it has said that still counts: key of the entry → accused and end. */
  readonly #said = new LRUCache<PeerId, Map<string, { by: PeerId; untilMs: number }>>({ max: 1_024 });

  constructor(now: () => number) {
    this.#now = now;
    this.#entries = new LRUCache({ max: MAX_ENTRIES });
  }

  weight(realm: Realm, digest: Digest, by: PeerId): Weight {
    if (this.#holds(realmKey(realm, by))) return 'ignored';
    return this.#holds(blobKey(realm, digest, by)) ? 'contests' : 'counts';
  }

  /** @returns false when this accuser has said too much to be listened to. */
  heard(accuser: PeerId, realm: Realm, digest: Digest, by: PeerId): boolean {
    const key = blobKey(realm, digest, by);
    const nowMs = this.#now();
    const said = this.#said.get(accuser) ?? new Map<string, { by: PeerId; untilMs: number }>();
    for (const [old, { untilMs }] of said) if (untilMs <= nowMs) said.delete(old);
    const accused = new Set([...said.values()].map((word) => word.by));
    // Whoever takes its own word back is believed: it loses by it.
    if (accuser !== by && !said.has(key)) {
      if (said.size >= MAX_ACCUSATIONS || (!accused.has(by) && accused.size >= MAX_ACCUSED)) return false;
    }
    said.set(key, { by, untilMs: nowMs + HEARSAY_MS });
    this.#said.set(accuser, said);
    this.#enter(key, HEARSAY_MS);
    return true;
  }

  caught(realm: Realm, by: PeerId): void {
    this.#enter(realmKey(realm, by), REALM_MS);
  }

  doubted(realm: Realm, digest: Digest, by: PeerId): void {
    this.#enter(blobKey(realm, digest, by), HEARSAY_MS);
  }

  #enter(key: string, forMs: number): void {
    this.#entries.set(key, Math.max(this.#entries.get(key) ?? 0, this.#now() + forMs));
  }

  #holds(key: string): boolean {
    const untilMs = this.#entries.get(key);
    return untilMs !== undefined && untilMs > this.#now();
  }
}

function blobKey(realm: Realm, digest: Digest, by: PeerId): string {
  return `${realm} ${digest} ${by}`;
}

function realmKey(realm: Realm, by: PeerId): string {
  return `${realm} ${by}`;
}
