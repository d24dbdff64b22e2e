import type { Digest } from '../blob/digest.ts';
import type { BlobCatalog, KnownBlob } from '../blob/source.ts';
import { DamselflyError } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { ArrivingPiece } from './arriving-piece.ts';
import { type PieceReader, Proof } from './proof.ts';

/**
 * Whole-blob digest checks under way. Readers of one cold blob share one running hash; the verdict is written into
 * the catalog, and a blob that does not match is dropped before anybody can read it again.
 */
export class Proofs {
  readonly #catalog: BlobCatalog;
  readonly #doubt: (digest: Digest) => void;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #active = new Map<Digest, { proof: Proof; users: number }>();

  /** @param parts.doubt drops a blob, and what is still on its way into the store. */
  constructor(parts: {
    catalog: BlobCatalog;
    doubt: (digest: Digest) => void;
    log: Logger;
    metrics: Metrics;
  }) {
    this.#doubt = parts.doubt;
    this.#catalog = parts.catalog;
    this.#log = parts.log;
    this.#metrics = parts.metrics;
  }

  isActive(digest: Digest): boolean {
    return this.#active.has(digest);
  }

  begin(blob: KnownBlob): Proof {
    const entry = this.#active.get(blob.digest) ?? { proof: new Proof(blob), users: 0 };
    entry.users += 1;
    this.#active.set(blob.digest, entry);
    return entry.proof;
  }

  end(proof: Proof): void {
    const entry = this.#active.get(proof.blob.digest);
    if (entry?.proof !== proof) return;
    entry.users -= 1;
    if (entry.users === 0) this.#active.delete(proof.blob.digest);
  }

  /** A piece of a blob that somebody may be proving has completed. */
  offer(digest: Digest, piece: ArrivingPiece): void {
    const proof = this.#active.get(digest)?.proof;
    if (proof === undefined) return;
    piece.hold();
    proof.offer(piece.index, piece.bytes, () => piece.letGo());
  }

  /** @throws DamselflyError digest-mismatch, after the blob was dropped. */
  async conclude(proof: Proof, read: PieceReader): Promise<void> {
    const { digest } = proof.blob;
    if ((await proof.conclude(read)) === 'proven') {
      this.#catalog.markProven(digest);
      return;
    }
    // Others who share this proof get the same verdict; whoever comes next begins a new one.
    if (this.#active.get(digest)?.proof === proof) {
      this.#active.delete(digest);
      this.#doubt(digest);
      this.#metrics.mismatchedBlobs.inc();
      this.#log.warn(
        { digest },
        'the bytes of a blob do not match its digest: dropped, the next reader reads it anew',
      );
    }
    throw new DamselflyError('digest-mismatch', `The bytes that arrived for ${digest} do not match it`, {
      facts: { digest },
    });
  }
}
