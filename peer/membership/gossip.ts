import type { Member, PeerId } from '../member.ts';
import { AntiEntropy } from './anti-entropy.ts';
import { AwakeClock } from './awake-clock.ts';
import { FailureDetector } from './failure-detector.ts';
import { Link, type LinkWire } from './link.ts';
import type { ByeReason, Entry, Message } from './message.ts';
import { MAX_LINKS, Partners } from './partners.ts';
import { Pulse } from './pulse.ts';
import type { Row, RowSeal } from './row.ts';
import { MemberTable, type TableEntry } from './table.ts';

/** Heartbeats, and with them the table's hash, go out so often. */
export const BEAT_MS = 3_000;
/** A link that has been silent for so long (heartbeats come every 3 s) is broken. */
const LINK_SILENCE_MS = 8_000;
/** News wait so long for others to go with them: little when there were none before, more in a storm. */
const CALM_FLUSH_MS = 10;
const STORM_FLUSH_MS = 100;
const TIDY_MS = 30_000;
/** A node that many turn to at once gives them some others to turn to, and lets them go. */
const CROWD_LINKS = 2 * MAX_LINKS;
const CROWD_ROWS = 24;
/** Two links between the same two members, opened from both ends within this time, were opened at once. */
const SIMULTANEOUS_MS = 2_000;

export interface GossipOptions {
  readonly self: Row;
  readonly seal: RowSeal;
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Opens a link (and calls {@link Gossip.opened}); false when it could not be. */
  readonly dial: (member: Member) => Promise<boolean>;
  /** Asks for a sign of life; bounded by 2.5 s. */
  readonly reach: (member: Member) => Promise<boolean>;
  /** Wants {@link Gossip.flush} to be called in so many ms; not called again before it was. */
  readonly flushIn: (delayMs: number) => void;
  /** Members came, went, are suspect or no more so, or changed. */
  readonly onChange: (ids: ReadonlySet<PeerId>) => void;
  /** It sent rows that are not signed by their members. */
  readonly onForgery: (link: Link) => void;
}

/**
 * Membership without I/O: the host gives it links and time, and it says what to send, whom to dial and who is there.
 * The product runs it over libp2p, the tests over a simulated network of a thousand.
 */
export class Gossip {
  readonly table: MemberTable;
  readonly detector: FailureDetector;
  readonly #o: GossipOptions;
  readonly #clock: AwakeClock;
  readonly #entropy: AntiEntropy;
  readonly #pulse: Pulse;
  readonly #partners: Partners;
  readonly #links = new Map<PeerId, Link>();
  /** Whose rows changed since the last flush. */
  readonly #news = new Set<PeerId>();
  /** Changed in the course of one message. */
  #changed = new Set<PeerId>();
  #isFlushAsked = false;
  #flushedMs = Number.NEGATIVE_INFINITY;
  #beatMs: number;
  #tidyMs = 0;

  constructor(options: GossipOptions) {
    const { random } = options;
    this.#o = options;
    this.#clock = new AwakeClock(options.now);
    const now = (): number => this.#clock.now();
    this.table = new MemberTable(options.self, options.seal, now());
    this.#entropy = new AntiEntropy(this.table);
    this.#pulse = new Pulse(this.table);
    this.detector = new FailureDetector({
      table: this.table,
      pulse: this.#pulse,
      links: () => this.links(),
      random,
      now,
      reach: options.reach,
      onVerdict: (id) => {
        this.#note(id);
        this.#settle();
      },
    });
    this.#partners = new Partners({
      table: this.table,
      random,
      now,
      dial: options.dial,
      onFailure: (id) => this.detector.doubt(id),
      close: (link, why) => this.#close(link, why),
    });
    this.#beatMs = now() + BEAT_MS * random();
  }

  links(): readonly Link[] {
    return [...this.#links.values()];
  }

  /** False while discovered addresses are worth being dialled at once. */
  isContent(): boolean {
    return this.#partners.isContent(this.links());
  }

  /**
   * A link was opened, by either side. The other side has proven who it is.
   * @returns undefined when it is one too many; it is closed already.
   */
  opened(peer: PeerId, isOutbound: boolean, wire: LinkWire): Link | undefined {
    const nowMs = this.#clock.now();
    const link = new Link({ peer, isOutbound, wire, nowMs });
    const before = this.#links.get(peer);
    if (before !== undefined) {
      if (this.#isPreferred(before, link)) {
        wire.send({ kind: 'bye', why: 'duplicate' });
        wire.close();
        return undefined;
      }
      before.wire.send({ kind: 'bye', why: 'duplicate' });
      before.wire.close();
    }
    this.#links.set(peer, link);
    wire.send({ kind: 'hello', self: this.table.self, hash: this.table.hash() });
    return link;
  }

  /** A link ended. @param isOrderly after a goodbye; else its other end is looked after. */
  closed(link: Link, isOrderly: boolean): void {
    if (this.#links.get(link.peer) !== link) return;
    this.#links.delete(link.peer);
    if (!isOrderly) this.detector.doubt(link.peer);
  }

  received(link: Link, message: Message): void {
    const nowMs = this.#clock.now();
    link.heardMs = nowMs;
    this.#pulse.noteAlive(link.peer, nowMs);
    this.#handle(link, message, nowMs);
    this.#settle();
  }

  /** A member was heard by other means: an answer on the data plane. */
  heardFrom(id: PeerId): void {
    this.#pulse.noteAlive(id, this.#clock.now());
  }

  /** To be called some times a second. */
  tick(): void {
    this.#clock.tick();
    const nowMs = this.#clock.now();
    if (this.table.answer(nowMs)) this.#note(this.table.self.member.id);
    for (const link of this.links()) {
      if (nowMs - link.heardMs <= LINK_SILENCE_MS) continue;
      link.wire.close();
      this.closed(link, false);
    }
    this.detector.tick();
    this.#partners.tick(this.links());
    if (nowMs >= this.#beatMs) {
      this.#beatMs = nowMs + BEAT_MS * (0.9 + 0.2 * this.#o.random());
      this.#pulse.beat();
      for (const link of this.links()) if (link.isGreeted) link.wire.send(this.#pulse.beatsFor(link));
    }
    if (nowMs >= this.#tidyMs) this.#tidy(nowMs);
    this.#settle();
  }

  /** This node's row becomes another. */
  renew(change: Parameters<MemberTable['renew']>[0]): void {
    this.table.renew(change, this.#clock.now());
    this.#note(this.table.self.member.id);
    this.#settle();
  }

  /** Says goodbye on every link. The caller gives it a moment and closes them. */
  leave(): void {
    this.table.renew({ isLeaving: true }, this.#clock.now());
    this.#news.add(this.table.self.member.id);
    this.flush();
    for (const link of this.links()) this.#close(link, 'leaving');
  }

  /** Tells the news to whoever does not know them. */
  flush(): void {
    this.#isFlushAsked = false;
    this.#flushedMs = this.#clock.now();
    const news: TableEntry[] = [];
    for (const id of this.#news) {
      const entry = this.table.entry(id);
      if (entry !== undefined) news.push(entry);
    }
    this.#news.clear();
    for (const link of this.#links.values()) if (link.isGreeted) this.#entropy.tell(link, news);
  }

  #handle(link: Link, message: Message, nowMs: number): void {
    switch (message.kind) {
      case 'hello':
        // Only its own row: a hello that introduces somebody else is none.
        if (message.self.signed.row.id !== link.peer) return;
        link.isGreeted = true;
        this.#take(link, [message.self], nowMs);
        this.#tellOfItself(link);
        if (!link.isOutbound && this.#links.size > CROWD_LINKS) {
          this.#sendElsewhere(link);
          return;
        }
        this.#entropy.greeted(link, message.hash, nowMs);
        return;
      case 'rows':
        this.#take(link, message.entries, nowMs);
        return;
      case 'summary':
        this.#entropy.answer(link, message.items);
        return;
      case 'want':
        this.#entropy.give(link, message.keys);
        return;
      case 'beats':
        this.#pulse.take(link, message.beats, nowMs);
        this.#entropy.compare(link, message.hash, nowMs);
        return;
      case 'probe':
        void this.detector.serve(link, message.nonce, message.target);
        return;
      case 'probed':
        this.detector.answered(message.nonce, message.isAlive);
        return;
      case 'bye':
        if (message.why === 'full') this.#partners.isFull(link.peer);
        this.closed(link, true);
        link.wire.close();
        return;
    }
  }

  #take(link: Link, entries: readonly Entry[], nowMs: number): void {
    for (const entry of entries) {
      const { id } = entry.signed.row;
      const result = this.table.merge(entry, nowMs);
      if (result === 'forged') this.#o.onForgery(link);
      if (result === 'forged' || result === 'full') continue;
      const after = this.table.entry(id);
      if (after !== undefined) this.#entropy.wasTold(link, after, entry);
      if (result === 'known') continue;
      if (after?.state === 'live') this.#pulse.noteAlive(id, nowMs);
      this.#note(id);
    }
  }

  /**
   * It may have been declared gone while it was stopped, or its epoch may be less than that of an earlier life; it is the
   * only one that can put that right.
   */
  #tellOfItself(link: Link): void {
    const entry = this.table.entry(link.peer);
    if (entry !== undefined) this.#entropy.tell(link, [entry]);
  }

  #sendElsewhere(link: Link): void {
    const others = [...this.table.entries()].filter(
      ({ state, member }) => state === 'live' && member.id !== link.peer,
    );
    const some: TableEntry[] = [];
    while (some.length < CROWD_ROWS && others.length > 0) {
      some.push(...others.splice(Math.floor(this.#o.random() * others.length), 1));
    }
    this.#entropy.tell(link, some);
    this.#close(link, 'full');
  }

  #note(id: PeerId): void {
    this.#news.add(id);
    this.#changed.add(id);
  }

  /** Ends one step: listeners hear of it once, and the news are on their way soon. */
  #settle(): void {
    if (this.#news.size > 0 && !this.#isFlushAsked) {
      this.#isFlushAsked = true;
      const isCalm = this.#clock.now() - this.#flushedMs > STORM_FLUSH_MS;
      this.#o.flushIn(isCalm ? CALM_FLUSH_MS : STORM_FLUSH_MS);
    }
    if (this.#changed.size === 0) return;
    const changed = this.#changed;
    this.#changed = new Set();
    this.#o.onChange(changed);
  }

  #close(link: Link, why: ByeReason): void {
    link.wire.send({ kind: 'bye', why });
    this.closed(link, true);
    link.wire.close();
  }

  /** Both sides decide alike, so that of two links opened at once exactly one stays. Else the newer one is the better. */
  #isPreferred(before: Link, link: Link): boolean {
    const wereSimultaneous =
      before.isOutbound !== link.isOutbound && link.openedMs - before.openedMs < SIMULTANEOUS_MS;
    if (!wereSimultaneous) return false;
    const isMineFirst = this.table.self.member.id < link.peer;
    return before.isOutbound === isMineFirst;
  }

  #tidy(nowMs: number): void {
    this.#tidyMs = nowMs + TIDY_MS;
    this.table.tidy(nowMs);
    this.#pulse.tidy();
    for (const link of this.#links.values())
      link.keepOnly((key) => this.table.entryOfLife(key) !== undefined);
  }
}
