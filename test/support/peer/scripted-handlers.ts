import type { ExchangeHandlers, ServedPiece } from '../../../peer/exchange.ts';
import type { PeerId } from '../../../peer/member.ts';
import type { Ask, Fetch, Inquiry, Knowledge, Plan, Report } from '../../../peer/messages.ts';
import { pieceLength } from '../../../src/blob/piece.ts';
import { aPlan, aVoucher, pieceBytes } from './words.ts';

/** Answers everything at once and well; a test exchanges what it cares for, and looks at what was asked. */
export class ScriptedHandlers implements ExchangeHandlers {
  readonly id: PeerId;
  readonly reports: { readonly from: PeerId; readonly reports: readonly Report[] }[] = [];
  readonly fetched: Fetch[] = [];
  /** Pieces that are lent now, and how often one was given back. */
  lent = 0;
  released = 0;
  asks: (from: PeerId, ask: Ask, answer: (plan: Plan) => void, signal: AbortSignal) => Promise<void> = async (
    _from,
    ask,
    answer,
  ) => answer(aPlan({ realm: ask.realm, digest: ask.digest, segment: ask.segment }));
  awaits: (fetch: Fetch, signal: AbortSignal) => Promise<boolean> = async () => true;
  serves: (from: PeerId, fetch: Fetch, signal: AbortSignal) => Promise<ServedPiece>;
  knows: (inquiry: Inquiry) => Knowledge = (inquiry) => ({
    ...inquiry,
    size: 7,
    holders: [{ peer: this.id, held: 0b1 }],
    leases: [],
    isFresh: false,
  });
  others: readonly PeerId[] = [];

  constructor(id: PeerId) {
    this.id = id;
    this.serves = async (_from, fetch) =>
      this.lend(pieceBytes(fetch.piece, pieceLength(fetch.piece, fetch.size)));
  }

  /** A piece that counts as lent until it is released. */
  lend(bytes: Buffer): ServedPiece {
    this.lent += 1;
    let isLent = true;
    const release = (): void => {
      if (!isLent) throw new Error('released twice');
      isLent = false;
      this.lent -= 1;
      this.released += 1;
    };
    return { kind: 'piece', bytes, voucher: aVoucher(this.id), release };
  }

  onAsk(from: PeerId, ask: Ask, answer: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    return this.asks(from, ask, answer, signal);
  }

  onReport(from: PeerId, reports: readonly Report[]): void {
    this.reports.push({ from, reports });
  }

  onInquiry(_from: PeerId, inquiry: Inquiry): Knowledge {
    return this.knows(inquiry);
  }

  awaitPiece(_from: PeerId, fetch: Fetch, signal: AbortSignal): Promise<boolean> {
    return this.awaits(fetch, signal);
  }

  onFetch(from: PeerId, fetch: Fetch, signal: AbortSignal): Promise<ServedPiece> {
    this.fetched.push(fetch);
    return this.serves(from, fetch, signal);
  }

  othersWith(): readonly PeerId[] {
    return this.others;
  }
}
