import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { SEGMENT_PIECES, segmentCount } from '../../src/blob/piece.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { Exchange } from '../exchange.ts';
import type { Member, MemberView, PeerId } from '../member.ts';
import type { PieceMark, Realm, Report, SegmentName } from '../messages.ts';
import { ALL_PIECES, NO_PIECES, type PieceMask } from '../piece-mask.ts';
import type { Trust } from '../trust/trust.ts';
import type { PiecePlace } from '../trust/trust-events.ts';

/** A plan waits no longer for what is said before it: half of what a planner has before it counts as silent. */
const TELL_MS = 50;
const REPORT_MS = 2_000;

export interface ProofTellerParts {
  readonly view: Pick<MemberView, 'self' | 'find'>;
  readonly exchange: Pick<Exchange, 'report'>;
  readonly trust: Pick<Trust, 'marks' | 'provenMarks'>;
  /** Origins that share the blob. */
  readonly realmsOf: (digest: KnownBlob['digest']) => readonly Realm[];
  /** Members that have the piece, as far as this node plans it. */
  readonly holders: (name: SegmentName, slot: number) => readonly PeerId[];
  readonly held: (name: SegmentName) => PieceMask;
  readonly load: () => number;
  /** To the planners of the piece, with this node's next report. */
  readonly here: (blob: KnownBlob & { readonly realm: Realm }, piece: number, mark: PieceMark) => void;
  /** Of this node's stop. */
  readonly signal: AbortSignal;
}

/** Tells other members which bytes are right, so that nobody takes others from a member that lies. */
export class ProofTeller {
  readonly #parts: ProofTellerParts;

  constructor(parts: ProofTellerParts) {
    this.#parts = parts;
  }

  /** The planners of a blob that is proven here, segment by segment. */
  async planners(blob: KnownBlob): Promise<void> {
    const { trust, realmsOf, here, signal } = this.#parts;
    for (let segment = 0; segment < segmentCount(blob.size); segment += 1) {
      for (const realm of realmsOf(blob.digest)) {
        for (const mark of trust.marks(realm, blob, segment, ALL_PIECES))
          here({ realm, ...blob }, segment * SEGMENT_PIECES + mark.slot, mark);
      }
      // Sixteen signatures are half a millisecond.
      await nextTurn();
      if (signal.aborted) return;
    }
  }

  /** Whoever holds another idea of the piece: it drops its own. @param to undefined: all holders. */
  holders({ realm, blob, piece }: PiecePlace, proven: PieceMark, to: PeerId | undefined): void {
    const { view } = this.#parts;
    const name = { realm, digest: blob.digest, segment: Math.floor(piece / SEGMENT_PIECES) };
    const receivers = to === undefined ? this.#parts.holders(name, proven.slot) : [to];
    const report = this.#reportOf(name, blob.size, [proven]);
    for (const id of receivers) {
      const member = id === view.self.id ? undefined : view.find(id);
      if (member !== undefined) void this.#send(member, report);
    }
  }

  /**
   * A member that is about to fetch these pieces, or to plan them.
   * @returns undefined when there is nothing to tell; else it resolves once that was said, in 50 ms at most.
   */
  reader(
    to: PeerId,
    { realm, digest, segment, size }: SegmentName & { readonly size: number | undefined },
    pieces: PieceMask,
  ): Promise<void> | undefined {
    const member = this.#parts.view.find(to);
    if (size === undefined || member === undefined) return undefined;
    const marks = this.#parts.trust.provenMarks(realm, { digest, size }, segment, pieces);
    if (marks.length === 0) return undefined;
    const sent = this.#send(member, this.#reportOf({ realm, digest, segment }, size, marks));
    return Promise.race([sent, sleep(TELL_MS, undefined, { ref: false })]);
  }

  /** Best effort: whoever does not hear of it now is told when it turns up with something else. */
  async #send(member: Member, report: Report): Promise<void> {
    await this.#parts.exchange
      .report(member, [report], AbortSignal.timeout(REPORT_MS))
      .catch(() => undefined);
  }

  #reportOf(name: SegmentName, size: number, marks: readonly PieceMark[]): Report {
    const { held, load } = this.#parts;
    return {
      ...{ ...name, size, marks, load: load(), held: held(name) },
      ...{ lost: NO_PIECES, leases: [], accused: [] },
    };
  }
}
