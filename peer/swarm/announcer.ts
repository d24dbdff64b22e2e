import { SEGMENT_PIECES } from '../../src/blob/piece.ts';
import type { KnownBlob } from '../../src/blob/source.ts';
import type { HuntedBlob } from '../hunt/hunt.ts';
import type { MemberView } from '../member.ts';
import type { Realm } from '../messages.ts';
import { slotsOf } from '../piece-mask.ts';
import { committee, ranks } from '../placement.ts';
import type { Shelf } from '../shelf.ts';

/** Segments that are told between two pauses, and how long a pause is: 100 GiB are told within a minute. */
const BATCH_SEGMENTS = 64;
const PAUSE_MS = 250;
/** Joins and leaves come in bunches. */
const SETTLE_MS = 300;
/** Planner and understudy hear of what is held. */
const HEARING_RANKS = 2;

export interface AnnouncerParts {
  readonly view: MemberView;
  readonly shelf: Pick<Shelf, 'inventory' | 'realmsOf'>;
  /** Has the planners told what of the piece's segment is here. */
  readonly announce: (blob: HuntedBlob & { readonly size: number }, piece: number) => void;
}

/**
 * Tells planners what this node has: after a start of this node, and when a segment's planner is another one or came back
 * without its memory. The most recently read blobs first, since those are what others want.
 */
export class Announcer {
  readonly #parts: AnnouncerParts;
  /** By realm, blob and segment: the planners that were told. */
  readonly #told = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #queue: Iterator<Announcement> | undefined;
  #isStopped = false;

  constructor(parts: AnnouncerParts) {
    this.#parts = parts;
  }

  /** The members have changed, or this node has just started. */
  changed(): void {
    if (this.#isStopped) return;
    clearTimeout(this.#timer);
    this.#queue = undefined;
    this.#arm(SETTLE_MS);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #arm(waitMs: number): void {
    this.#timer = setTimeout(() => this.#turn(), waitMs);
    this.#timer.unref();
  }

  #turn(): void {
    if (this.#parts.view.live().length < 2) return;
    this.#queue ??= this.#announcements();
    for (let count = 0; count < BATCH_SEGMENTS; ) {
      const { value, done } = this.#queue.next();
      if (done === true) {
        this.#queue = undefined;
        return;
      }
      if (this.#told.get(value.key) === value.planners) continue;
      this.#told.set(value.key, value.planners);
      this.#parts.announce(value.blob, value.piece);
      count += 1;
    }
    this.#arm(PAUSE_MS);
  }

  *#announcements(): Generator<Announcement, void, void> {
    const { shelf, view } = this.#parts;
    const seen = new Set<string>();
    for (const { blob, segments } of shelf.inventory()) {
      for (const realm of shelf.realmsOf(blob.digest)) {
        for (const [segment, held] of segments) {
          const [slot] = slotsOf(held);
          if (slot === undefined) continue;
          const key = `${realm}/${blob.digest}/${segment}`;
          seen.add(key);
          const planners = ranks(blob.digest, segment, committee(blob.digest, view.live()))
            .slice(0, HEARING_RANKS)
            .map(({ id, epoch }) => `${id} ${epoch}`)
            .join(' ');
          yield { key, planners, blob: named(realm, blob), piece: segment * SEGMENT_PIECES + slot };
        }
      }
    }
    for (const key of this.#told.keys()) if (!seen.has(key)) this.#told.delete(key);
  }
}

interface Announcement {
  readonly key: string;
  readonly planners: string;
  readonly blob: HuntedBlob & { readonly size: number };
  readonly piece: number;
}

function named(realm: Realm, { digest, size }: KnownBlob): HuntedBlob & { readonly size: number } {
  return { realm, digest, size };
}
