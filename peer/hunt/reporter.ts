import type { PeerId } from '../member.ts';
import type { Accusation, LeaseReport, PieceMark, Report, SegmentName } from '../messages.ts';
import { NO_PIECES, type PieceMask } from '../piece-mask.ts';

interface Draft {
  readonly name: SegmentName;
  readonly size: number;
  lost: PieceMask;
  readonly marks: PieceMark[];
  progress: PieceMask;
  readonly returned: Map<NonNullable<LeaseReport['why']>, PieceMask>;
  readonly accused: Accusation[];
}

/** Collects what the planners are to hear, so that it travels in few messages. */
export class Reporter {
  readonly #held: (name: SegmentName) => PieceMask;
  readonly #load: () => number;
  readonly #plannersOf: (name: SegmentName) => readonly PeerId[];
  #drafts = new Map<string, Draft>();
  /** When the drafts are to leave; undefined while there are none. */
  #dueAt: number | undefined;

  /** @param plannersOf the first two ranks of a segment. */
  constructor(
    held: (name: SegmentName) => PieceMask,
    load: () => number,
    plannersOf: (name: SegmentName) => readonly PeerId[],
  ) {
    this.#held = held;
    this.#load = load;
    this.#plannersOf = plannersOf;
  }

  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** Pieces came. */
  held(name: SegmentName, size: number, dueAt: number, mark?: PieceMark): void {
    const draft = this.#draft(name, size, dueAt);
    if (mark !== undefined) draft.marks.push(mark);
  }

  lost(name: SegmentName, size: number, pieces: PieceMask, dueAt: number): void {
    this.#draft(name, size, dueAt).lost |= pieces;
  }

  progress(name: SegmentName, size: number, pieces: PieceMask, dueAt: number): void {
    this.#draft(name, size, dueAt).progress |= pieces;
  }

  returned(
    name: SegmentName,
    size: number,
    pieces: PieceMask,
    why: NonNullable<LeaseReport['why']>,
    dueAt: number,
  ): void {
    const draft = this.#draft(name, size, dueAt);
    draft.returned.set(why, (draft.returned.get(why) ?? NO_PIECES) | pieces);
    draft.progress &= ~pieces;
  }

  accuse(name: SegmentName, size: number, accusation: Accusation, dueAt: number): void {
    this.#draft(name, size, dueAt).accused.push(accusation);
  }

  /** @returns what is due, by receiver; everything that waits goes along. */
  take(now: number): Map<PeerId, Report[]> {
    const byPeer = new Map<PeerId, Report[]>();
    if (this.#dueAt === undefined || this.#dueAt > now) return byPeer;
    for (const draft of this.#drafts.values()) {
      const report = this.#report(draft);
      for (const id of this.#plannersOf(draft.name)) {
        const reports = byPeer.get(id);
        if (reports === undefined) byPeer.set(id, [report]);
        else reports.push(report);
      }
    }
    this.#drafts = new Map();
    this.#dueAt = undefined;
    return byPeer;
  }

  #report({ name, size, lost, marks, progress, returned, accused }: Draft): Report {
    const held = this.#held(name);
    const leases: LeaseReport[] = [];
    if ((progress & ~held) !== NO_PIECES) leases.push({ pieces: progress & ~held, state: 'progress' });
    for (const [why, pieces] of returned) leases.push({ pieces, state: 'returned', why });
    const { realm, digest, segment } = name;
    return {
      realm,
      digest,
      segment,
      size,
      load: this.#load(),
      held,
      lost: lost & ~held,
      marks,
      leases,
      accused,
    };
  }

  #draft(name: SegmentName, size: number, dueAt: number): Draft {
    this.#dueAt = Math.min(this.#dueAt ?? dueAt, dueAt);
    const key = `${name.realm}/${name.digest}/${name.segment}`;
    let draft = this.#drafts.get(key);
    if (draft === undefined) {
      draft = {
        name,
        size,
        lost: NO_PIECES,
        marks: [],
        progress: NO_PIECES,
        returned: new Map(),
        accused: [],
      };
      this.#drafts.set(key, draft);
    }
    return draft;
  }
}
