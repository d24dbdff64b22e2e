import type { Member, PeerId } from './member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from './messages.ts';

/** Buffers for whole pieces; what was taken is given back once, or kept for ever. */
export interface PieceBufferPool {
  take(length: number): Buffer;
  give(buffer: Buffer): void;
}

/**
 * How members exchange pieces and planner questions: mutual TLS sockets (4005), or a libp2p stream (4006) as the second
 * implementation; test/peer/exchange/conformance.ts holds both to the same rules:
 *  - the other side is who it says and has proven the network key before anything of it is parsed;
 *  - every call ends by its signal, and rejects with a DamselflyError `peer-unreachable` (could not be dialled within 1 s, or the
 *    connection broke), `peer-refused` (not a member, wrong identity, another network or version) or `peer-broken` (it
 *    broke the protocol);
 *  - connections are pooled, at most 64 peers (least recently used is closed when idle), and calls share them;
 *  - a large piece on its way does not hold up planner messages by more than one frame.
 */
export interface Exchange {
  /**
   * Asks a planner. `onPlan` is called for each answer; resolves after the final one.
   * An abort takes the ask back at the planner.
   */
  ask(to: Member, ask: Ask, onPlan: (plan: Plan) => void, signal: AbortSignal): Promise<void>;
  /** One way, best effort: resolves when handed to the transport. */
  report(to: Member, reports: readonly Report[], signal: AbortSignal): Promise<void>;
  inquire(to: Member, inquiry: Inquiry, signal: AbortSignal): Promise<Knowledge>;
  /**
   * @param onProgress called as bytes arrive, for deadlines that look at progress; with 0 when the holder says that
   *   the piece still arrives there, or waits for its turn (several times a second).
   * @returns `bytes` come from the pool and are not verified yet; their length is that of the piece.
   */
  fetch(
    to: Member,
    fetch: Fetch,
    onProgress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<FetchOutcome>;
  /** Peers with an open connection, in either direction. */
  connected(): readonly PeerId[];
  close(): Promise<void>;
}

/** What a node does for others; given to the exchange when it starts to listen. `signal` ends when the asker leaves. */
export interface ExchangeHandlers {
  /** Calls `answer` once per plan, the last one final, and resolves then; the asker is told when it resolves without one. */
  onAsk(from: PeerId, ask: Ask, answer: (plan: Plan) => void, signal: AbortSignal): Promise<void>;
  onReport(from: PeerId, reports: readonly Report[]): void;
  onInquiry(from: PeerId, inquiry: Inquiry): Knowledge;
  /**
   * Resolves true as soon as the piece is here; false when it is not and does not come within `fetch.waitMs`. Called
   * before an upload slot is taken, so that questions for pieces that still arrive hold up nobody.
   */
  awaitPiece(from: PeerId, fetch: Fetch, signal: AbortSignal): Promise<boolean>;
  /**
   * A piece to send. `release` is called once its bytes have left or the asker has; the exchange paces the upload
   * (slots, rate, demand first) and calls this only when a slot is free.
   */
  onFetch(from: PeerId, fetch: Fetch, signal: AbortSignal): Promise<ServedPiece>;
  /** Named with `busy` when the upload queue is full: who else has the piece. Without it nobody is named. */
  othersWith?(from: PeerId, fetch: Fetch): readonly PeerId[];
}

export type ServedPiece =
  | (Extract<FetchOutcome, { kind: 'piece' }> & { release(): void })
  | Exclude<FetchOutcome, { kind: 'piece' }>;
