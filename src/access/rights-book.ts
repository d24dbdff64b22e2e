import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type Digest, parseDigest } from '../blob/digest.ts';
import type { OriginId } from '../blob/upstream.ts';
import type { FactTable } from '../store/facts.ts';

/** About 300 bytes each in memory; a node that pulls more images than this per `access.ttl` asks a little more often. */
const MAX_READERS = 16_384;
/** About 300 bytes each; some three thousand images of ten blobs. */
const MAX_MEMBERS = 32_768;
const MAX_TAGS = 8_192;

const KEY_FACT = 'rights';
const KEY_BYTES = 32;

export interface RightsBookOptions {
  readonly facts: FactTable;
  /** How long (a) is good for a hit. */
  readonly ttlMs: number;
  /** How long (a) is kept for the time when the origin is down; 0 when it never counts then. */
  readonly graceMs: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly maxReaders?: number | undefined;
  readonly maxMembers?: number | undefined;
  readonly maxTags?: number | undefined;
}

/** A repository that a digest belongs to. */
export interface MemberOf {
  readonly origin: OriginId;
  readonly repository: string;
}

interface Reader {
  learnedAtMs: number;
  writtenAtMs: number;
}

/**
 * What is remembered of rights: (a) readers, by keyed hash; (b) members, digests by repository; and what tags last
 * meant. All in memory, the least recently used forgotten first, and written behind to the index so that it survives
 * a restart. Only what an origin granted is in it; a refusal is never remembered.
 */
export class RightsBook {
  readonly #facts: FactTable;
  readonly #ttlMs: number;
  readonly #keepMs: number;
  readonly #now: () => number;
  readonly #rewriteAfterMs: number;
  readonly #readers: LRUCache<string, Reader>;
  readonly #members: LRUCache<string, true>;
  readonly #tags: LRUCache<string, Digest>;

  constructor(options: RightsBookOptions) {
    const { facts } = options;
    this.#facts = facts;
    this.#ttlMs = options.ttlMs;
    this.#keepMs = Math.max(options.ttlMs, options.graceMs);
    this.#now = options.now;
    // A right in use is renewed with every answer of the origin; after a restart it may be this much older than it was.
    this.#rewriteAfterMs = Math.min(options.ttlMs / 10, 30_000);
    this.#readers = new LRUCache({
      max: options.maxReaders ?? MAX_READERS,
      dispose: (_, key, reason) => reason === 'evict' && facts.remove('reader', key),
    });
    this.#members = new LRUCache({
      max: options.maxMembers ?? MAX_MEMBERS,
      dispose: (_, key, reason) => reason === 'evict' && facts.remove('member', key),
    });
    this.#tags = new LRUCache({
      max: options.maxTags ?? MAX_TAGS,
      dispose: (_, key, reason) => reason === 'evict' && facts.remove('tag', key),
    });
    this.#load();
  }

  /** (a) within `access.ttl`. */
  mayRead(readerHash: string): boolean {
    return this.#ageOf(readerHash) < this.#ttlMs;
  }

  /** (a) within `access.grace`, or `access.ttl` where that is longer. */
  couldRead(readerHash: string): boolean {
    return this.#ageOf(readerHash) < this.#keepMs;
  }

  /** (b). */
  isMember(origin: OriginId, repository: string, digest: Digest): boolean {
    return this.#members.get(memberKey(origin, repository, digest)) !== undefined;
  }

  /**
   * Where these digests are known to belong: `maxEach` repositories of each at most. Walks all that is remembered (some
   * milliseconds), and counts as no use of it.
   */
  repositoriesOf(digests: ReadonlySet<Digest>, maxEach: number): Map<Digest, MemberOf[]> {
    const found = new Map<Digest, MemberOf[]>();
    for (const key of this.#members.keys()) {
      const at = key.lastIndexOf('\n');
      const digest = key.slice(at + 1) as Digest;
      if (!digests.has(digest)) continue;
      const places = found.get(digest) ?? [];
      found.set(digest, places);
      const [origin = '', repository = ''] = key.slice(0, at).split('\n');
      if (places.length < maxEach) places.push({ origin: origin as OriginId, repository });
    }
    return found;
  }

  learnReader(readerHash: string): void {
    const now = this.#now();
    const known = this.#readers.get(readerHash);
    if (known !== undefined) {
      known.learnedAtMs = now;
      if (Math.abs(now - known.writtenAtMs) < this.#rewriteAfterMs) return;
      known.writtenAtMs = now;
    } else {
      this.#readers.set(readerHash, { learnedAtMs: now, writtenAtMs: now });
    }
    this.#facts.put('reader', { key: readerHash, value: String(now), expiresAtMs: now + this.#keepMs });
  }

  forgetReader(readerHash: string): void {
    if (this.#readers.delete(readerHash)) this.#facts.remove('reader', readerHash);
  }

  learnMember(origin: OriginId, repository: string, digest: Digest): void {
    const key = memberKey(origin, repository, digest);
    if (this.#members.get(key) !== undefined) return;
    this.#members.set(key, true);
    this.#facts.put('member', { key, value: '', expiresAtMs: Number.POSITIVE_INFINITY });
  }

  learnTag(origin: OriginId, repository: string, tag: string, digest: Digest): void {
    const key = tagKey(origin, repository, tag);
    if (this.#tags.get(key) === digest) return;
    this.#tags.set(key, digest);
    this.#facts.put('tag', { key, value: digest, expiresAtMs: Number.POSITIVE_INFINITY });
  }

  digestOfTag(origin: OriginId, repository: string, tag: string): Digest | undefined {
    return this.#tags.get(tagKey(origin, repository, tag));
  }

  /** An age below 0 means that the clock was set back: nothing is known of the time that passed. */
  #ageOf(readerHash: string): number {
    const reader = this.#readers.get(readerHash);
    if (reader === undefined) return Number.POSITIVE_INFINITY;
    const ageMs = this.#now() - reader.learnedAtMs;
    return ageMs < 0 ? Number.POSITIVE_INFINITY : ageMs;
  }

  #load(): void {
    for (const { key, value } of this.#facts.load('reader')) {
      const learnedAtMs = Number(value);
      if (value !== '' && Number.isFinite(learnedAtMs)) {
        this.#readers.set(key, { learnedAtMs, writtenAtMs: learnedAtMs });
      }
    }
    for (const { key } of this.#facts.load('member')) this.#members.set(key, true);
    for (const { key, value } of this.#facts.load('tag')) {
      const digest = parseDigest(value);
      if (digest !== null) this.#tags.set(key, digest);
    }
  }
}

/** The key of {@link RequesterHash}: made once per cache directory. Without it, rights learned before are unreadable. */
export function rightsKey(facts: FactTable): Uint8Array {
  const known = facts.load('key').find((fact) => fact.key === KEY_FACT);
  const bytes = Buffer.from(known?.value ?? '', 'base64url');
  if (bytes.length === KEY_BYTES) return bytes;
  const fresh = randomBytes(KEY_BYTES);
  const value = fresh.toString('base64url');
  facts.put('key', { key: KEY_FACT, value, expiresAtMs: Number.POSITIVE_INFINITY });
  return fresh;
}

/** A line break is in none of the parts, so different parts never make the same key. */
function memberKey(origin: OriginId, repository: string, digest: Digest): string {
  return `${origin}\n${repository}\n${digest}`;
}

function tagKey(origin: OriginId, repository: string, tag: string): string {
  return `${origin}\n${repository}\n${tag}`;
}
