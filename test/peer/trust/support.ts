import { createHash } from 'node:crypto';
import type { PeerId } from '../../../peer/member.ts';
import type { PieceMark, Realm } from '../../../peer/messages.ts';
import type { Shelf } from '../../../peer/shelf.ts';
import type { TrustLevel } from '../../../peer/trust/judge.ts';
import type { Quarantine } from '../../../peer/trust/standing.ts';
import { Notary, type PieceFact, type Signatory } from '../../../peer/trust/statement.ts';
import { Trust } from '../../../peer/trust/trust.ts';
import type { DropReason, PiecePlace } from '../../../peer/trust/trust-events.ts';
import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { PIECE_BYTES, pieceCount, pieceLength } from '../../../src/blob/piece.ts';
import type { KnownBlob } from '../../../src/blob/source.ts';
import type { Fact, FactKind } from '../../../src/store/facts.ts';

export const REALM = '0123456789abcdef' as Realm;
export const ELSEWHERE = 'fedcba9876543210' as Realm;

/** A blob of `pieces` pieces, the last one short. */
export function blobOf(pieces: number, name = 'blob'): KnownBlob {
  return { digest: digestOf(Buffer.from(name)), size: (pieces - 1) * PIECE_BYTES + 1000 };
}

const hashes = new Map<string, Uint8Array>();

/** The sha256 that the piece has, in this version of it: 0 is the right one. */
export function sha256Of(blob: KnownBlob, piece: number, version = 0): Uint8Array {
  const text = `${blob.digest} ${piece} ${version}`;
  const known = hashes.get(text) ?? Uint8Array.from(createHash('sha256').update(text).digest());
  hashes.set(text, known);
  return known;
}

export function factOf(blob: KnownBlob, piece: number, version = 0, realm = REALM): PieceFact {
  return { realm, ...blob, piece, sha256: sha256Of(blob, piece, version) };
}

export function lengthOf(fact: PieceFact): number {
  return pieceLength(fact.piece, fact.size);
}

/** Signatures that only the test can make: cheap, always the same, and of the right length. */
export class Keys {
  #verified = 0;

  /** Signatures that were checked. */
  get verified(): number {
    return this.#verified;
  }

  signatory(name: string): Signatory {
    return {
      self: name as PeerId,
      sign: (bytes) => signature(name, bytes),
      verify: (by, bytes, given) => {
        this.#verified += 1;
        return Buffer.compare(signature(by, bytes), given) === 0;
      },
    };
  }

  notary(name: string): Notary {
    return new Notary(this.signatory(name));
  }
}

function signature(name: string, bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(createHash('sha512').update(`secret of ${name} `).update(bytes).digest());
}

/** A store that holds what it is told, and facts that outlive whoever wrote them. */
export class FakeStore implements Pick<Shelf, 'realmsOf' | 'sha256Of' | 'isProven'> {
  readonly pieces = new Map<string, Uint8Array>();
  readonly provenBlobs = new Set<Digest>();
  readonly facts = new Map<string, Fact>();
  puts = 0;

  realmsOf(): readonly Realm[] {
    return [REALM];
  }

  sha256Of(digest: Digest, piece: number): Uint8Array | undefined {
    return this.pieces.get(`${digest}/${piece}`);
  }

  isProven(digest: Digest): boolean {
    return this.provenBlobs.has(digest);
  }

  store({ digest, piece, sha256 }: PieceFact): void {
    this.pieces.set(`${digest}/${piece}`, sha256);
  }

  remove(digest: Digest, piece: number): void {
    this.pieces.delete(`${digest}/${piece}`);
    this.provenBlobs.delete(digest);
  }

  drop({ digest, size }: KnownBlob): void {
    for (let piece = 0; piece < pieceCount(size); piece += 1) this.remove(digest, piece);
  }

  load(kind: FactKind): readonly Fact[] {
    return [...this.facts.entries()].filter(([key]) => key.startsWith(`${kind}|`)).map(([, fact]) => fact);
  }

  put(kind: FactKind, fact: Fact): void {
    this.puts += 1;
    this.facts.set(`${kind}|${fact.key}`, fact);
  }

  removeFact(kind: FactKind, key: string): void {
    this.facts.delete(`${kind}|${key}`);
  }
}

export interface Dropped {
  readonly piece: number;
  readonly why: DropReason;
}

/** One node's trust, with what it did about it. */
export class TrustNode {
  readonly name: PeerId;
  readonly notary: Notary;
  readonly store: FakeStore;
  readonly trust: Trust;
  readonly dropped: Dropped[] = [];
  readonly accused: { place: PiecePlace; by: PeerId }[] = [];
  readonly told: { place: PiecePlace; mark: PieceMark; to: PeerId | undefined }[] = [];
  readonly quarantined: Quarantine[] = [];

  constructor(
    keys: Keys,
    name: string,
    options: {
      level?: TrustLevel;
      isListed?: boolean;
      clock?: { nowMs: number };
      store?: FakeStore;
    } = {},
  ) {
    const { level = 'attested', isListed = true, clock = { nowMs: 0 }, store = new FakeStore() } = options;
    this.name = name as PeerId;
    this.notary = keys.notary(name);
    this.store = store;
    this.trust = new Trust({
      signatory: keys.signatory(name),
      facts: {
        load: (kind) => store.load(kind),
        put: (kind, fact) => store.put(kind, fact),
        remove: (kind, key) => store.removeFact(kind, key),
      },
      shelf: store,
      level,
      isListed: () => isListed,
      now: () => clock.nowMs,
      events: {
        drop: ({ blob, piece }, why) => {
          this.dropped.push({ piece, why });
          store.remove(blob.digest, piece);
        },
        accuse: (place, by) => this.accused.push({ place, by }),
        disagree: (place, mark, to) => this.told.push({ place, mark, to }),
        quarantined: (quarantine) => this.quarantined.push(quarantine),
      },
    });
  }

  /** Reads the piece from the origin, stores and attests it. */
  reads(fact: PieceFact): void {
    this.store.store(fact);
    this.trust.readFromOrigin(fact);
  }

  /** Gets the piece of `from`, which vouches for it with its book. @returns whether it was taken; null when it was not sent. */
  gets(from: TrustNode, fact: PieceFact): ReturnType<Trust['receive']> | null {
    const voucher = from.trust.voucherFor(fact);
    if (voucher === null) return null;
    const verdict = this.trust.receive(from.name, fact, lengthOf(fact), voucher);
    if (verdict.taken) this.store.store(fact);
    return verdict;
  }

  holds(fact: PieceFact): boolean {
    const held = this.store.sha256Of(fact.digest, fact.piece);
    return held !== undefined && Buffer.compare(held, fact.sha256) === 0;
  }
}
