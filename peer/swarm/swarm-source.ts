import { LRUCache } from 'lru-cache';
import type { Digest } from '../../src/blob/digest.ts';
import { PIECE_BYTES, pieceAt, pieceSpan } from '../../src/blob/piece.ts';
import type { BlobAddress, Chunk, OpenedRead, OpenOptions, PieceSource } from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { Upstream } from '../../src/blob/upstream.ts';
import { hasCode, OriginRefusal } from '../../src/errors.ts';
import type { ReadEnd, ReadId } from '../hunt/actions.ts';
import type { Realm } from '../messages.ts';
import type { Arrivals } from './arrivals.ts';
import type { Hunter } from './hunter.ts';
import type { Acquired } from './waiters.ts';

/** Clients that read ranges give up after 3 to 5 s: by then the origin must have been asked, whatever the planners say. */
const PATIENCE_MS = 4_000;
/** What no reader has come to yet. It ends only what has been forgotten: leases and holders have deadlines of their own. */
const AHEAD_PATIENCE_MS = 300_000;
const AWAITED = { isSo: true, onBegin: () => () => undefined };
/** Pieces from peers on their way into the store, and reads from the origin under way: far more than there can be. */
const MAX_REMEMBERED = 4_096;
/** What has arrived is in the store by then, or was dropped on its way there. */
const SETTLE_MS = 5_000;
/** The planner hears of progress every 500 ms; the hunt need not hear of every chunk. */
const PROGRESS_MS = 100;

export interface SwarmSourceParts {
  readonly origin: PieceSource;
  readonly hunter: Hunter;
  readonly arrivals: Arrivals;
  /** Undefined where the blob is not shared. */
  readonly realmOf: (upstream: Upstream) => Realm | undefined;
  /** now: others are there. before: they were, and are not any more. never: it runs on its own. */
  readonly hasPeers: () => 'now' | 'before' | 'never';
  /** Its bytes did not match its digest before: no member's will do until it is proven. */
  readonly isSuspect: (digest: Digest) => boolean;
  /** Pieces that are read by oneself, though others may be reading them: nobody is there to ask. */
  readonly readAlone: (pieces: number) => void;
  /** Bytes that were read of a piece that another one reads as well. */
  readonly hedged: (bytes: number) => void;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** How long the store has for what has arrived; 5 s. */
  readonly settleMs?: number;
}

/** A read of one piece from the origin, under a lease or without. */
interface Reading {
  readonly read: ReadId | undefined;
  readonly key: string;
  readonly isHedge: boolean;
  readonly over: () => void;
  /** Nothing is to be found for it any more. */
  readonly release: () => void;
  /** Requests to the origin under way: none between the two parts of a piece that is read from its middle. */
  active: number;
}

/**
 * The far source of a node with peers. Piece by piece it is decided where the bytes come from: a member that has or is receiving
 * it, or the origin, when this node has been given the lease (or nobody answers). What came from a member is verified before
 * anybody sees it; what comes from the origin flows as it arrives, to readers here, and from the store to peers.
 */
export class SwarmSource implements PieceSource {
  readonly name = 'peer';
  readonly #parts: SwarmSourceParts;
  readonly #readings = new LRUCache<string, Reading>({
    max: MAX_REMEMBERED,
    ttlAutopurge: true,
    dispose: (reading, _, reason) => {
      reading.over();
      if (reason === 'expire') this.#end(reading, 'failed');
      else if (reason === 'evict') reading.release();
    },
  });
  /** Pieces that came from a member and are not in the store yet. */
  readonly #fromPeers = new LRUCache<string, () => void>({
    max: MAX_REMEMBERED,
    ttl: SETTLE_MS,
    ttlAutopurge: true,
    dispose: (over) => over(),
  });

  constructor(parts: SwarmSourceParts) {
    this.#parts = parts;
  }

  async open(blob: BlobAddress, span: Span, options: OpenOptions): Promise<OpenedRead> {
    const { origin, hunter, realmOf, hasPeers, isSuspect, arrivals } = this.#parts;
    const realm = options.isCheck === true ? undefined : realmOf(options.upstream);
    const piece = pieceAt(span.start);
    const key = keyOf(blob, piece);
    const peers = realm === undefined ? 'never' : hasPeers();
    if (peers === 'before') this.#parts.readAlone(Math.max(1, pieceAt(span.end - 1) - piece + 1));
    if (realm === undefined || peers !== 'now' || isSuspect(blob.digest))
      return named(await opened(origin, blob, span, options));
    const known = this.#readings.get(key);
    // The rest of a piece whose other part came from the origin: both are read under one lease.
    if (known !== undefined) return await this.#read(blob, span, options, known);
    const over = arrivals.expect(blob.digest, piece);
    let acquired: Acquired;
    try {
      acquired = await hunter.acquire({ realm, digest: blob.digest, size: blob.size }, piece, {
        urgency: options.urgency,
        awaited: options.awaited ?? AWAITED,
        patienceMs: PATIENCE_MS,
        aheadPatienceMs: AHEAD_PATIENCE_MS,
        signal: options.signal,
      });
    } catch (error) {
      over();
      throw error;
    }
    if (acquired.kind === 'piece') {
      this.#fromPeers.set(key, over);
      return fromPeer(acquired, span);
    }
    const granted = acquired.kind === 'read' ? acquired : undefined;
    const release = (): void => {
      if (granted !== undefined) hunter.release({ realm, digest: blob.digest }, piece, granted.ticket);
    };
    const isHedge = granted?.reason === 'hedge';
    const reading: Reading = { read: granted?.read, key, isHedge, over, release, active: 0 };
    this.#readings.set(key, reading);
    return await this.#read(blob, span, options, reading);
  }

  /**
   * The store has taken the piece, or will not.
   * @returns whether a member sent it; otherwise the origin did.
   */
  settled(blob: BlobAddress, piece: number, outcome: 'stored' | 'declined'): boolean {
    const key = keyOf(blob, piece);
    if (outcome === 'stored') this.#parts.arrivals.arrived(blob.digest, piece);
    const isFromPeer = this.#fromPeers.delete(key);
    const reading = this.#readings.get(key);
    if (reading !== undefined) this.#end(reading, outcome === 'stored' ? 'done' : 'disk');
    return isFromPeer;
  }

  async #read(blob: BlobAddress, span: Span, options: OpenOptions, reading: Reading): Promise<OpenedRead> {
    const { origin, hunter, clock } = this.#parts;
    const { read } = reading;
    const end = Math.min(span.end, (pieceAt(span.start) + 1) * PIECE_BYTES);
    // A read that has begun goes on, lease or not: its own client waits for it.
    if (read !== undefined)
      hunter.readBegins(read, () => {
        if (reading.active === 0) this.#end(reading, 'failed');
      });
    reading.active += 1;
    let passedOn: OpenedRead;
    try {
      passedOn = await opened(origin, blob, { start: span.start, end }, options);
    } catch (error) {
      reading.active -= 1;
      this.#end(reading, options.signal.aborted ? 'failed' : endOf(error));
      throw error;
    }
    const progress = (): void => {
      if (read !== undefined) hunter.hunt.readProgress(read);
    };
    progress();
    let isOver = false;
    const over = (isWhole: boolean, bytes: number): void => {
      if (isOver) return;
      isOver = true;
      if (reading.isHedge && bytes > 0) this.#parts.hedged(bytes);
      reading.active -= 1;
      if (!isWhole) this.#end(reading, 'failed');
      else if (reading.active === 0 && this.#readings.get(reading.key) === reading)
        this.#readings.set(reading.key, reading, { ttl: this.#parts.settleMs ?? SETTLE_MS });
    };
    return {
      ...pick(passedOn),
      source: passedOn.source ?? origin.name,
      chunks: watched(passedOn, end, { over, progress, clock }),
      close: () => {
        over(false, 0);
        passedOn.close();
      },
    };
  }

  #end(reading: Reading, how: ReadEnd): void {
    const { hunter } = this.#parts;
    // A look only: one whose time is up is being removed in this very call, and `get` would remove it once more, without an end.
    if (this.#readings.peek(reading.key) === reading) this.#readings.delete(reading.key);
    reading.over();
    if (reading.read === undefined) return;
    hunter.readEnds(reading.read);
    // What is done is told by the store (Hunt.here), which ends the lease at its planner.
    if (how !== 'done') hunter.hunt.readEnded(reading.read, how);
    reading.release();
  }
}

function fromPeer({ piece, size }: Extract<Acquired, { kind: 'piece' }>, wanted: Span): OpenedRead {
  const span = pieceSpan(piece.index, size);
  return {
    info: { size, mediaType: undefined },
    source: 'peer',
    span,
    verified: piece,
    chunks: (async function* () {
      if (wanted.start < span.end) yield piece.bytes;
    })(),
    close: () => undefined,
  };
}

/** @param end blob offset up to which the bytes are wanted: whoever has got them may leave early. */
async function* watched(
  { chunks, span, info }: OpenedRead,
  end: number,
  on: { over(isWhole: boolean, bytes: number): void; progress(): void; clock(): number },
): AsyncGenerator<Chunk, void, void> {
  const wantedEnd = Math.min(end, info.size);
  let toldAt = on.clock();
  let at = span.start;
  try {
    for await (const chunk of chunks) {
      const now = on.clock();
      if (now - toldAt >= PROGRESS_MS) {
        toldAt = now;
        on.progress();
      }
      at += chunk.length;
      yield chunk;
    }
  } finally {
    on.over(at >= wantedEnd, at - span.start);
  }
}

async function opened(
  source: PieceSource,
  blob: BlobAddress,
  span: Span,
  options: OpenOptions,
): Promise<OpenedRead> {
  const read = await source.open(blob, span, options);
  if (read === null) throw new TypeError('the origin is the last source: it has the blob, or says why not');
  return read;
}

function pick({ info, span }: OpenedRead): Pick<OpenedRead, 'info' | 'span'> {
  return { info, span };
}

function named(read: OpenedRead): OpenedRead {
  return read.source === undefined
    ? { ...pick(read), source: 'origin', chunks: read.chunks, close: () => read.close() }
    : read;
}

function endOf(error: unknown): ReadEnd {
  if (error instanceof OriginRefusal) return 'refused';
  if (hasCode(error, 'shutting-down')) return 'stopping';
  return hasCode(error, 'origin-busy') ? 'busy' : 'failed';
}

function keyOf({ digest }: Pick<BlobAddress, 'digest'>, piece: number): string {
  return `${digest}/${piece}`;
}
