import { LRUCache } from 'lru-cache';
import type { Digest } from '../../src/blob/digest.ts';
import { pieceLength, SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { FactTable } from '../../src/store/facts.ts';
import type { PeerId } from '../member.ts';
import type { PieceMark, Realm, Report, SegmentName } from '../messages.ts';
import { type PieceMask, slotsOf } from '../piece-mask.ts';
import type { Shelf } from '../shelf.ts';
import type { Voucher } from '../voucher.ts';
import { Accusations } from './accusations.ts';
import { type Claim, Claims } from './claims.ts';
import { Distrust } from './distrust.ts';
import { refused, type TrustLevel, taken, type Verdict, valuesOf, weigh } from './judge.ts';
import { ProvenLists } from './proven-lists.ts';
import { type Quarantine, Standing } from './standing.ts';
import { isPiece, Notary, type PieceFact, type Signatory, sameBytes, selfProof } from './statement.ts';
import { SuspectBlobs } from './suspect-blobs.ts';
import { markOf, type PieceName, Testimony } from './testimony.ts';
import { placeOf, type TrustEvents } from './trust-events.ts';
import { VoucherBook } from './voucher-book.ts';

/** Pieces that were read a second time since a proven word said otherwise. */
const MAX_READ_AGAIN = 1_024;

/**
 * Whom and what this node believes. The rules, in order of what they rest on:
 *  1. what this node has proven is right, and whoever signed otherwise is cut off;
 *  2. a proven word of a member beats attestations: a holder that disagrees drops its piece and reads it again;
 *  3. what this node read from the origin itself beats attestations;
 *  4. attestations count while nobody contradicts them; if somebody does, the origin is read, and names the wrong one.
 * Only evidence that this node has seen itself cuts a member off (distrust.ts says why): two proven words of one member on one
 * piece, a proof here, and, in realms that the operator listed, the origin's own bytes.
 */
export class Trust {
  readonly standing: Standing;
  readonly book: VoucherBook;
  readonly #notary: Notary;
  readonly #shelf: Pick<Shelf, 'realmsOf' | 'sha256Of' | 'isProven'>;
  readonly #events: TrustEvents;
  readonly #level: TrustLevel;
  readonly #proofs: ProvenLists;
  readonly #claims = new Claims();
  readonly #distrust: Distrust;
  readonly #suspects: SuspectBlobs;
  readonly #testimony: Testimony;
  readonly #accusations: Accusations;
  readonly #readAgain = new LRUCache<string, true>({ max: MAX_READ_AGAIN });

  constructor(parts: {
    signatory: Signatory;
    facts: FactTable;
    shelf: Pick<Shelf, 'realmsOf' | 'sha256Of' | 'isProven'>;
    events: TrustEvents;
    /** `peer.trust`. */
    level: TrustLevel;
    /** Whether the operator has named the origin of this realm (`origins`, the default origin, a listener's). */
    isListed: (realm: Realm) => boolean;
    network?: string;
    /** Milliseconds, monotonic. */
    now: () => number;
  }) {
    const { signatory, facts, shelf, events, now } = parts;
    this.#notary = new Notary(signatory, parts.network);
    this.#shelf = shelf;
    this.#events = events;
    this.#level = parts.level;
    this.#proofs = new ProvenLists(shelf);
    this.book = new VoucherBook({ notary: this.#notary, facts, shelf, proofs: this.#proofs });
    this.#distrust = new Distrust(now);
    this.#suspects = new SuspectBlobs(now);
    this.standing = new Standing({ now, onQuarantine: (quarantine) => this.#cutOff(quarantine) });
    const whoCounts = { standing: this.standing, distrust: this.#distrust };
    this.#testimony = new Testimony({
      ...whoCounts,
      notary: this.#notary,
      claims: this.#claims,
      proofs: this.#proofs,
      book: this.book,
    });
    this.#accusations = new Accusations({
      ...whoCounts,
      self: this.#notary.self,
      isListed: parts.isListed,
      events,
    });
  }

  /** What is in the store at start. */
  opened(blobs: Iterable<KnownBlob>): void {
    for (const blob of blobs) if (this.#shelf.isProven(blob.digest)) this.#proofs.keep(blob);
  }

  /**
   * A piece has come from a peer. When it is taken its voucher is remembered, and goes with it to others.
   * @param fact with the sha256 that the caller computed of the bytes that came.
   * @param bytes how many came.
   */
  receive(from: PeerId, fact: PieceFact, bytes: number, voucher: Voucher): Verdict {
    if (!isPiece(fact) || bytes !== pieceLength(fact.piece, fact.size)) {
      this.standing.note(from, 'wrong');
      return refused('length', 'holder');
    }
    const claim = { fact, voucher };
    const proof = this.#testimony.proofOf(fact);
    if (proof !== undefined && sameBytes(proof, fact.sha256)) {
      this.book.received(fact, voucher);
      return taken('proven');
    }
    // Bytes and voucher come together: whoever passes on what is not signed has not checked it, or made it.
    if (!this.#notary.isSigned(fact, voucher)) {
      this.standing.note(from, 'wrong');
      return refused('signature', 'holder');
    }
    if (proof !== undefined) {
      if (selfProof(fact.digest, fact.size) !== undefined) this.standing.note(from, 'wrong');
      this.#accusations.caught(claim);
      return refused('contradicts-proof', 'holder');
    }
    this.#learn(claim);
    if (!this.#suspects.mayTake(fact.digest, voucher)) return refused('suspect', 'origin');
    const evidence = this.#testimony.of(fact);
    const verdict = weigh(fact.sha256, evidence, this.#level);
    if (verdict.taken) {
      const backing = evidence.claims.filter(
        ({ fact: { sha256 }, voucher: { by } }) => evidence.counts(by) && sameBytes(sha256, fact.sha256),
      );
      const best = backing.find((known) => known.voucher.kind === 'proven') ?? backing[0] ?? claim;
      this.book.received(fact, best.voucher);
      return verdict;
    }
    if (verdict.why !== 'distrusted') return verdict;
    return refused(this.standing.isQuarantined(voucher.by) ? 'quarantined' : 'distrusted', 'holder');
  }

  /** This node has read a piece from its origin, and it is in the store (or will not be). It is attested from now on. */
  readFromOrigin(fact: PieceFact): void {
    const proof = this.#testimony.proofOf(fact);
    if (proof !== undefined && !sameBytes(proof, fact.sha256)) {
      this.#events.drop(placeOf(fact), 'contradicts-proof');
      return;
    }
    this.book.readFromOrigin(fact);
    for (const wrong of this.#suspects.readFromOrigin(fact)) this.#accusations.caught(wrong);
    this.#reconsider(fact);
  }

  /**
   * The store holds the whole blob, and it has matched its digest.
   * @returns false when not all pieces are in the store (yet): to be called again when they are.
   */
  proven(blob: KnownBlob): boolean {
    if (!this.#proofs.keep(blob)) return false;
    const sha256Of = (piece: number) => this.#proofs.sha256Of(blob, piece);
    const wrong = this.#claims.ofBlob(blob).filter(({ fact }) => {
      const right = sha256Of(fact.piece);
      return right !== undefined && !sameBytes(right, fact.sha256);
    });
    for (const claim of [...this.#suspects.proven(blob, sha256Of), ...wrong]) this.#accusations.caught(claim);
    this.book.forget(blob);
    return true;
  }

  /**
   * The whole bytes of a blob do not match its digest. To be called before its pieces are dropped from the store.
   */
  mismatched(blob: KnownBlob): void {
    const vouched: Claim[] = [];
    for (const { realm, piece, record } of this.book.recordsOf(blob)) {
      const sha256 = record.sha256;
      if (sha256 === undefined || record.source === 'proof') continue;
      const fact = { realm, ...blob, piece, sha256 };
      // This node's own attestations may be on their way to others: if they were wrong, it takes them back.
      const voucher = record.source === 'peer' ? record.voucher : this.#notary.vouch('attested', fact);
      vouched.push({ fact, voucher });
    }
    this.#suspects.mismatched(blob, vouched);
    this.#proofs.forget(blob.digest);
    this.book.forget(blob);
  }

  /** Until it is proven, only the origin (or the proven word of a member that had no part in it) will do. */
  isSuspect(digest: Digest): boolean {
    return this.#suspects.isSuspect(digest);
  }

  /** What another member says of pieces, here or not. */
  heard(from: PeerId, report: SegmentName & Pick<Report, 'size' | 'marks' | 'accused'>): void {
    if (this.standing.isQuarantined(from) || from === this.#notary.self) return;
    const { realm, digest, size, segment } = report;
    for (const { slot, sha256, voucher } of report.marks.slice(0, SEGMENT_PIECES)) {
      const fact = { realm, digest, size, piece: segment * SEGMENT_PIECES + slot, sha256 };
      if (isPiece(fact) && voucher.by !== this.#notary.self) this.#heardMark(from, { fact, voucher });
    }
    for (const { by } of report.accused.slice(0, SEGMENT_PIECES))
      if (by !== this.#notary.self) this.#distrust.heard(from, realm, digest, by);
  }

  /** To report: marks of those of these pieces that this node holds and can vouch for. */
  marks(realm: Realm, blob: KnownBlob, segment: number, slots: PieceMask): PieceMark[] {
    const marks: PieceMark[] = [];
    for (const slot of slotsOf(slots)) {
      const piece = segment * SEGMENT_PIECES + slot;
      const sha256 =
        this.#shelf.sha256Of(blob.digest, piece) ?? this.book.recordOf(realm, blob, piece)?.sha256;
      const voucher = sha256 && this.voucherFor({ realm, ...blob, piece, sha256 });
      if (sha256 && voucher) marks.push({ slot, sha256, voucher });
    }
    return marks;
  }

  /** What is known to be right of these pieces, proven here or by a member whose word counts: for whoever fetches them. */
  provenMarks(realm: Realm, { digest, size }: KnownBlob, segment: number, slots: PieceMask): PieceMark[] {
    const marks: PieceMark[] = [];
    for (const slot of slotsOf(slots)) {
      const mark = this.#testimony.provenMark({
        realm,
        digest,
        size,
        piece: segment * SEGMENT_PIECES + slot,
      });
      if (mark !== undefined) marks.push(mark);
    }
    return marks;
  }

  /** What goes to others with a piece; null when it must not go. */
  voucherFor(fact: PieceFact): Voucher | null {
    const voucher = this.book.voucherFor(fact);
    if (voucher === null) return null;
    return this.#testimony.weight(fact.realm, fact.digest, voucher.by) === 'ignored' ? null : voucher;
  }

  /** Pieces of a segment have left the store. */
  lost(blob: KnownBlob, segment: number): void {
    this.book.lost(blob.digest, segment);
    if (this.#proofs.has(blob) && !this.#proofs.isWhole(blob)) this.book.provenInPart(blob);
  }

  #heardMark(from: PeerId, claim: Claim): void {
    const { fact, voucher } = claim;
    const proof = this.#testimony.proofOf(fact);
    if (proof !== undefined) {
      if (sameBytes(proof, fact.sha256)) return;
      if (!this.#notary.isSigned(fact, voucher)) {
        this.standing.note(from, 'wrong');
        return;
      }
      this.#accusations.caught(claim);
      this.#events.disagree(placeOf(fact), this.#testimony.ownMark({ ...fact, sha256: proof }), from);
      return;
    }
    const weight = (by: PeerId) => this.#testimony.weight(fact.realm, fact.digest, by);
    if (!this.#claims.isNews(claim, weight)) this.#compare(fact, from, fact.sha256);
    else if (this.#notary.isSigned(fact, voucher)) this.#learn(claim);
    else this.standing.note(from, 'wrong');
  }

  /** A signed word. */
  #learn(claim: Claim): void {
    const { fact, voucher } = claim;
    const other = this.#claims.add(claim, (by) => this.#testimony.weight(fact.realm, fact.digest, by));
    // An attester may have read the origin twice.
    if (other !== undefined && voucher.kind === 'proven') this.#accusations.contradictsItself(claim);
    this.#reconsider(fact);
    this.#compare(fact);
  }

  /** Whether what is here of the piece can still be believed. */
  #reconsider(fact: PieceName): void {
    const place = placeOf(fact);
    const record = this.book.recordOf(fact.realm, place.blob, fact.piece);
    if (record?.sha256 === undefined || record.source === 'proof') return;
    const evidence = this.#testimony.of(fact);
    if (record.source === 'origin') {
      this.#compareWithOrigin({ ...fact, sha256: record.sha256 }, evidence.claims);
      return;
    }
    const verdict = weigh(record.sha256, evidence, 'attested');
    if (verdict.taken || (verdict.why !== 'contested' && verdict.why !== 'contradicts-proven')) return;
    this.book.forgetPiece(fact.digest, fact.piece);
    this.#events.drop(place, verdict.why);
  }

  /** This node has read the piece from the origin, and others have spoken of it. */
  #compareWithOrigin(own: PieceFact, claims: readonly Claim[]): void {
    const others = claims.filter(({ fact }) => !sameBytes(fact.sha256, own.sha256));
    for (const claim of others) if (claim.voucher.kind === 'attested') this.#accusations.caught(claim);
    const proven = others.filter(({ voucher }) => voucher.kind === 'proven');
    if (proven.length === 0 || valuesOf(claims, 'proven').length > 1) return;
    // The origin may have erred once. When it says the same again, its bytes stand here until there is a proof.
    const key = `${own.realm} ${own.digest} ${own.piece}`;
    if (this.#readAgain.has(key)) {
      for (const { voucher } of proven) this.#distrust.doubted(own.realm, own.digest, voucher.by);
      return;
    }
    this.#readAgain.set(key, true);
    this.book.forgetPiece(own.digest, own.piece);
    this.#events.drop(placeOf(own), 'contradicts-proven');
  }

  /** Whoever holds what a proven word contradicts is told: a member that said so, else all holders, by whoever knows them. */
  #compare(place: PieceName, to?: PeerId, said?: Uint8Array): void {
    const { claims } = this.#testimony.of(place);
    const [value, another] = valuesOf(claims, 'proven');
    if (value === undefined || another !== undefined) return;
    const proven = claims.find(({ voucher }) => voucher.kind === 'proven');
    const isAgreed = said
      ? sameBytes(said, value)
      : claims.every(({ fact }) => sameBytes(fact.sha256, value));
    if (proven === undefined || isAgreed) return;
    this.#events.disagree(placeOf(place), markOf(proven.fact, proven.voucher), to);
  }

  /** Its word counts for nothing any more: what is here on that alone goes. */
  #cutOff(quarantine: Quarantine): void {
    this.#events.quarantined(quarantine);
    // Wrong bytes on the wire say nothing of what it vouched for before.
    if (quarantine.why !== 'lied') return;
    for (const place of this.book.piecesBy(quarantine.peer)) {
      const { realm, blob, piece } = place;
      const record = this.book.recordOf(realm, blob, piece);
      const claims = this.#testimony.of({ realm, ...blob, piece }).claims;
      const backing =
        record?.sha256 && claims.find(({ fact }) => sameBytes(fact.sha256, record.sha256 ?? fact.sha256));
      if (backing) this.book.received(backing.fact, backing.voucher);
      else {
        this.book.forgetPiece(blob.digest, piece);
        this.#events.drop(place, 'liar');
      }
    }
  }
}
