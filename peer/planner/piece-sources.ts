import type { PeerId } from '../member.ts';
import type { PlannerParameters } from './parameters.ts';
import type { PlannedPeer } from './peers.ts';

/** A member that has a piece, or is on the way to it. */
export interface Source {
  readonly peer: PlannedPeer;
  /** Of the peer when it was put in; a zone may become known later. */
  readonly zone: string;
  /** held: complete there. reading: from the origin, under a lease. receiving: from `parent`. */
  state: 'held' | 'reading' | 'receiving';
  /** Of a receiving one: undefined when another planner assigned it. */
  parent: Source | undefined;
  /** Readers that were sent here for this piece and have not got it yet. */
  children: number;
  /** When it will have the piece, in transfers of a piece from now on. */
  estimate: number;
  /** When it came to this state. */
  since: number;
  isRemoved: boolean;
  index: number;
}

/** Parents followed before a chain counts as broken: no tree of 5,000 readers is as deep. */
const MAX_DEPTH = 64;
/** How long a receiver whose parent nobody knows is trusted to get its piece. */
const ASSUMED_MS = 3_000;
const DOUBT_COST = 16;
const CROWDED_COST = 8;

/** Who has, or will have, one piece: the trees that its readers form. */
export class PieceSources {
  readonly #parameters: PlannerParameters;
  readonly #random: () => number;
  readonly #sources = new Map<PeerId, Source>();
  readonly #zones = new Map<string, Source[]>();
  #receiving = 0;

  constructor(parameters: PlannerParameters, random: () => number) {
    this.#parameters = parameters;
    this.#random = random;
  }

  get size(): number {
    return this.#sources.size;
  }

  /** Readers on their way to it. */
  get receiving(): number {
    return this.#receiving;
  }

  get(id: PeerId): Source | undefined {
    return this.#sources.get(id);
  }

  all(): IterableIterator<Source> {
    return this.#sources.values();
  }

  hold(peer: PlannedPeer, now: number): void {
    this.#set(peer, 'held', undefined, 0, now);
  }

  read(peer: PlannedPeer, now: number): void {
    this.#set(peer, 'reading', undefined, 1, now);
  }

  receive(peer: PlannedPeer, parent: Source | undefined, now: number): void {
    const estimate = parent === undefined ? 2 : parent.estimate + parent.peer.load(now) + 1;
    this.#set(peer, 'receiving', parent, estimate, now);
    if (parent !== undefined) {
      parent.children += 1;
      parent.peer.assigned();
    }
  }

  remove(id: PeerId): void {
    const source = this.#sources.get(id);
    if (source === undefined) return;
    this.#sources.delete(id);
    if (source.state === 'receiving') this.#receiving -= 1;
    leaveParent(source);
    source.isRemoved = true;
    const list = this.#zones.get(source.zone);
    const last = list?.pop();
    if (list !== undefined && last !== undefined && last !== source) {
      list[source.index] = last;
      last.index = source.index;
    }
    if (list?.length === 0) this.#zones.delete(source.zone);
  }

  /**
   * Where `reader` should fetch from, best first: from its own zone if that has a source at all, so that a piece
   * crosses zones once per zone; then whoever will have delivered it first.
   */
  best(reader: PlannedPeer, isBarred: (id: PeerId) => boolean, now: number): Source[] {
    const own = this.#choose(this.#zones.get(reader.zone) ?? [], reader, isBarred, now);
    if (own.length > 0) return own;
    const others: Source[] = [];
    for (const [zone, sources] of this.#zones) if (zone !== reader.zone) others.push(...sources);
    return this.#choose(others, reader, isBarred, now);
  }

  #choose(
    sources: readonly Source[],
    reader: PlannedPeer,
    isBarred: (id: PeerId) => boolean,
    now: number,
  ): Source[] {
    const { samples, named } = this.#parameters;
    const best: { source: Source; cost: number }[] = [];
    const start = Math.floor(this.#random() * sources.length);
    // All of a few; of many a stretch from a random place, and further only while nothing usable was found.
    for (let step = 0; step < sources.length && (step < samples || best.length === 0); step += 1) {
      const source = sources[(start + step) % sources.length];
      if (source === undefined || isBarred(source.peer.id) || !isUsable(source, reader, now)) continue;
      const cost = this.#cost(source, now);
      const place = best.findIndex((other) => other.cost > cost);
      if (place < 0 && best.length >= named) continue;
      best.splice(place < 0 ? best.length : place, 0, { source, cost });
      best.length = Math.min(best.length, named);
    }
    return best.map(({ source }) => source);
  }

  #cost(source: Source, now: number): number {
    const doubt = source.peer.doubtedUntil > now ? DOUBT_COST : 0;
    const crowd = source.children >= this.#parameters.children ? CROWDED_COST : 0;
    return source.estimate + source.peer.load(now) + doubt + crowd;
  }

  #set(
    peer: PlannedPeer,
    state: Source['state'],
    parent: Source | undefined,
    estimate: number,
    now: number,
  ): void {
    const source = this.#sources.get(peer.id);
    if (state === 'receiving') this.#receiving += 1;
    if (source !== undefined) {
      if (source.state === 'receiving') this.#receiving -= 1;
      leaveParent(source);
      Object.assign(source, { state, parent, estimate, since: now });
      return;
    }
    let list = this.#zones.get(peer.zone);
    if (list === undefined) {
      list = [];
      this.#zones.set(peer.zone, list);
    }
    const added: Source = {
      peer,
      zone: peer.zone,
      state,
      parent,
      children: 0,
      estimate,
      since: now,
      isRemoved: false,
      index: list.length,
    };
    list.push(added);
    this.#sources.set(peer.id, added);
  }
}

function leaveParent(source: Source): void {
  if (source.parent === undefined) return;
  source.parent.children -= 1;
  source.parent.peer.relieved();
  source.parent = undefined;
}

/**
 * Its chain of parents ends at somebody who has the piece or reads it, and was not found silent; it does not lead through the
 * reader itself.
 */
function isUsable(source: Source, reader: PlannedPeer, now: number): boolean {
  let at = source;
  for (let depth = 0; depth < MAX_DEPTH; depth += 1) {
    if (at.isRemoved || !at.peer.isLive || at.peer === reader) return false;
    if (at.state !== 'receiving') return at === source || !at.peer.isShunned(now);
    if (at.parent === undefined) return now - at.since < ASSUMED_MS;
    at = at.parent;
  }
  return false;
}
