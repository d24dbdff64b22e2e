import { PIECE_BYTES, pieceAt, pieceLength, pieceSpan } from '../blob/piece.ts';
import type { KnownBlob } from '../blob/source.ts';
import type { Span } from '../blob/span.ts';
import { DamselflyError } from '../errors.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Flight } from './flight.ts';
import type { ContentParts, ReadContext } from './parts.ts';
import type { Passenger } from './passengers.ts';
import { fillAheadPieces } from './run-plan.ts';

/** Turns for one piece: a flight of somebody else that failed, then one of our own. */
const MAX_TURNS = 3;

export interface FillOptions {
  /** `node`: a piece that only memory holds counts as here, for who reads it soon; it may be gone by then. */
  readonly into: 'disk' | 'node';
  readonly onPiece?: ((bytes: number) => void) | undefined;
}

/**
 * Brings the pieces of a span into the store without handing them out.
 * @param options.onPiece called as each piece is here, with its bytes; pieces that were here already included.
 * @throws what the origin answered, or cache-unusable when a piece arrived and could not be kept.
 */
export async function fill(
  parts: Pick<ContentParts, 'catalog'>,
  dispatcher: Dispatcher,
  blob: KnownBlob,
  span: Span,
  context: ReadContext,
  { into, onPiece }: FillOptions,
): Promise<void> {
  const has = (piece: number): boolean =>
    into === 'disk' ? parts.catalog.hasPiece(blob.digest, piece) : dispatcher.has(blob.digest, piece);
  const { digest } = blob;
  const passenger: Passenger = { upstream: context.upstream, position: Number.POSITIVE_INFINITY };
  const joined = new Set<Flight>();
  const end = pieceAt(span.end - 1) + 1;
  const join = (flight: Flight): void => {
    if (!joined.has(flight)) flight.join(passenger, context.urgency);
    flight.claim();
    joined.add(flight);
  };
  const start = (piece: number): Flight => {
    const wish = { first: piece, end, open: false, readPieces: 0 };
    const flight = dispatcher.start(blob, wish, piece * PIECE_BYTES, context);
    join(flight);
    return flight;
  };
  const startAhead = (piece: number): void => {
    const ahead = fillAheadPieces(dispatcher.reach(digest, context.upstream), dispatcher.crowd(digest));
    for (let next = piece + 1; next < Math.min(piece + 1 + ahead, end); next += 1)
      if (!has(next) && dispatcher.flights.get(digest, next) === undefined) start(next);
  };
  const leave = dispatcher.removals.use(blob.digest);
  try {
    for (let piece = pieceAt(span.start); piece < end; piece += 1) {
      for (let turn = 0; !has(piece); turn += 1) {
        context.signal.throwIfAborted();
        const arriving = dispatcher.flights.get(digest, piece);
        const flight = arriving ?? start(piece);
        flight.include(pieceSpan(piece, blob.size));
        join(flight);
        startAhead(piece);
        while (dispatcher.flights.get(digest, piece) === flight && !flight.ended)
          await flight.changed.wait(context.signal);
        if (!has(piece) && (arriving === undefined || turn + 1 >= MAX_TURNS))
          throw flight.error ?? notKept(blob, piece);
      }
      for (const flight of joined) {
        if (!flight.ended) continue;
        flight.leave(passenger);
        joined.delete(flight);
      }
      onPiece?.(pieceLength(piece, blob.size));
    }
  } finally {
    leave();
    for (const flight of joined) flight.leave(passenger);
  }
}

function notKept(blob: KnownBlob, piece: number): DamselflyError {
  return new DamselflyError(
    'cache-unusable',
    'The cache could not keep a piece: it is full, read-only or failing',
    {
      facts: { digest: blob.digest, piece },
    },
  );
}
