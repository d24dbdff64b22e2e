import type { Member, PeerId } from '../member.ts';
import type { Link } from './link.ts';
import type { MemberTable } from './table.ts';

/** Links that a node opens itself. With as many that others open to it, news reach 1,000 members in about four steps. */
export const OWN_LINKS = 3;
/** Links in all; one more is asked to go elsewhere. */
export const MAX_LINKS = 10;
/** In a swarm too large for everybody to be linked with everybody, one own link is exchanged so often. */
const ROTATE_MS = 60_000;
const FULL_RETRY_MS = 30_000;
const FAILED_RETRY_MS = 5_000;
/** Somebody that just came by is given time to finish the comparison of tables before its link counts as one too many. */
const SETTLE_MS = 3_000;
const MAX_DIALS = 3;

export interface PartnersOptions {
  readonly table: MemberTable;
  readonly random: () => number;
  readonly now: () => number;
  /** Opens a link; resolves false when it could not be. */
  readonly dial: (member: Member) => Promise<boolean>;
  /** A member could not be dialled. */
  readonly onFailure: (id: PeerId) => void;
  readonly close: (link: Link, why: 'full' | 'unneeded') => void;
}

/** Chooses the few members that this node keeps talking to: at random, so that the links of all make a well-knit graph. */
export class Partners {
  readonly #o: PartnersOptions;
  readonly #dialling = new Set<PeerId>();
  readonly #notBeforeMs = new Map<PeerId, number>();
  #rotateMs: number;

  constructor(options: PartnersOptions) {
    this.#o = options;
    this.#rotateMs = options.now() + ROTATE_MS * (0.5 + options.random());
  }

  /** It said that it has links enough. */
  isFull(id: PeerId): void {
    this.#notBeforeMs.set(id, this.#o.now() + FULL_RETRY_MS);
  }

  /** Whether the node has links enough to hear of everybody; not whether it has met everybody. */
  isContent(links: readonly Link[]): boolean {
    return links.length > OWN_LINKS || links.filter((link) => link.isOutbound).length >= OWN_LINKS;
  }

  tick(links: readonly Link[]): void {
    const nowMs = this.#o.now();
    this.#shed(links, nowMs);
    const own = links.filter((link) => link.isOutbound).length;
    let missing = Math.min(OWN_LINKS - own, MAX_LINKS - links.length) - this.#dialling.size;
    if (missing <= 0) return;
    const candidates = this.#candidates(links, nowMs);
    while (missing > 0 && candidates.length > 0 && this.#dialling.size < MAX_DIALS) {
      const [member] = candidates.splice(Math.floor(this.#o.random() * candidates.length), 1);
      if (member !== undefined) this.#dial(member);
      missing -= 1;
    }
  }

  #candidates(links: readonly Link[], nowMs: number): Member[] {
    const { table } = this.#o;
    const linked = new Set(links.map((link) => link.peer));
    for (const [id, notBeforeMs] of this.#notBeforeMs) if (notBeforeMs <= nowMs) this.#notBeforeMs.delete(id);
    return table
      .live()
      .filter(
        ({ id }) =>
          id !== table.self.member.id &&
          !linked.has(id) &&
          !this.#dialling.has(id) &&
          !this.#notBeforeMs.has(id) &&
          table.entry(id)?.state === 'live',
      );
  }

  #dial(member: Member): void {
    this.#dialling.add(member.id);
    void this.#o.dial(member).then((isOpen) => {
      this.#dialling.delete(member.id);
      if (isOpen) return;
      this.#notBeforeMs.set(member.id, this.#o.now() + FAILED_RETRY_MS);
      this.#o.onFailure(member.id);
    });
  }

  #shed(links: readonly Link[], nowMs: number): void {
    const settled = links.filter((link) => nowMs - link.openedMs > SETTLE_MS);
    const own = settled.filter((link) => link.isOutbound);
    const others = settled.filter((link) => !link.isOutbound);
    // In a small swarm everybody may stay linked with everybody: nothing is gained by closing.
    const isLarge = this.#o.table.live().length > MAX_LINKS;
    const spare = links.length - MAX_LINKS;
    if (isLarge && own.length > OWN_LINKS) {
      for (const link of own.slice(OWN_LINKS)) this.#o.close(link, 'unneeded');
    } else if (spare > 0) {
      // The longest-lived go: their openers have had the most time to find others.
      for (const link of others.slice(0, spare)) this.#o.close(link, 'full');
    } else if (isLarge && nowMs > this.#rotateMs && own.length === OWN_LINKS) {
      const link = own[Math.floor(this.#o.random() * own.length)];
      if (link !== undefined) this.#o.close(link, 'unneeded');
    }
    if (nowMs > this.#rotateMs) this.#rotateMs = nowMs + ROTATE_MS * (0.5 + this.#o.random());
  }
}
