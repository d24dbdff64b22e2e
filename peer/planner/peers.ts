import type { Member, MemberView, PeerId } from '../member.ts';

/** A peer that said nothing new has sent a piece in so many ms: what it said fades. */
const DRAIN_MS = 100;

/** What a planner remembers of one member, over all segments. */
export class PlannedPeer {
  readonly id: PeerId;
  zone: string;
  epoch: number;
  /** In the view of live members: only then it is named to others. */
  isLive: boolean;
  /** Leases that it holds. */
  leases = 0;
  /** Somebody found it silent; until then others are preferred. */
  doubtedUntil = 0;
  #shunnedUntil = 0;
  /** Uploads assigned to it here and not reported done. */
  #pending = 0;
  /** What it said of itself, and what was assigned to it since. */
  #said = 0;
  #saidAt = 0;

  constructor(id: PeerId, member: Member | undefined) {
    this.id = id;
    this.zone = member?.zone ?? '';
    this.epoch = member?.epoch ?? 0;
    this.isLive = member !== undefined;
  }

  /** Somebody found it silent. */
  doubt(now: number, ms: number): void {
    this.doubtedUntil = now + ms;
    this.#shunnedUntil = now + ms / 2;
  }

  /** So lately that others need not find it silent as well; it may be back soon. */
  isShunned(now: number): boolean {
    return this.#shunnedUntil > now;
  }

  /** Pieces that it is to send to others, as far as is known here. */
  load(now: number): number {
    return Math.max(this.#pending, this.#said - (now - this.#saidAt) / DRAIN_MS);
  }

  /** Its own word, which knows what other planners have assigned. */
  says(load: number, now: number): void {
    // Who is heard of is not silent to all.
    this.doubtedUntil = 0;
    this.#shunnedUntil = 0;
    this.#said = load;
    this.#saidAt = now;
  }

  assigned(): void {
    this.#pending += 1;
    this.#said += 1;
  }

  relieved(): void {
    this.#pending -= 1;
  }
}

export class PlannedPeers {
  readonly #view: MemberView;
  readonly #peers = new Map<PeerId, PlannedPeer>();

  constructor(view: MemberView) {
    this.#view = view;
  }

  get(id: PeerId): PlannedPeer {
    let peer = this.#peers.get(id);
    if (peer === undefined) {
      peer = new PlannedPeer(id, this.#view.find(id));
      this.#peers.set(id, peer);
    }
    return peer;
  }

  /** That all of them hold. */
  get leases(): number {
    let leases = 0;
    for (const peer of this.#peers.values()) leases += peer.leases;
    return leases;
  }

  /**
   * After the view has changed.
   * @returns those that left, or came back as a new process: nothing that was known of them holds.
   */
  refresh(): PlannedPeer[] {
    const gone: PlannedPeer[] = [];
    for (const peer of this.#peers.values()) {
      const member = this.#view.find(peer.id);
      if (member !== undefined && (member.epoch === peer.epoch || peer.epoch === 0)) {
        peer.zone = member.zone;
        peer.epoch = member.epoch;
        peer.isLive = true;
        continue;
      }
      // A row of its own from now on: whoever still points at the old one sees a dead peer.
      peer.isLive = false;
      this.#peers.delete(peer.id);
      gone.push(peer);
    }
    return gone;
  }
}
