import { LRUCache } from 'lru-cache';

import type { LeaseEnd } from '../../src/observe/swarm-labels.ts';

import type { Member, MemberView, PeerId } from '../member.ts';
import type { Ask, Inquiry, Knowledge, Plan, Report, SegmentName } from '../messages.ts';
import { committee, ranks } from '../placement.ts';
import { Wakeups } from '../wakeups.ts';
import type { AskHandle, InquiryHandle, PlannerAction } from './actions.ts';
import { Crowd } from './crowd.ts';
import type { OpenAsk } from './open-ask.ts';
import { PLANNER_DEFAULTS, type PlannerParameters } from './parameters.ts';
import { PlannedPeers } from './peers.ts';
import { SegmentPlan } from './segment-plan.ts';

/** Ranks asked about an unknown segment by a planner that is not fresh. */
const ASKED_RANKS = 2;
/** Holders announce what they have to a restarted planner within this time (design.md, "Planning"). */
const ANNOUNCEMENT_WINDOW_MS = 2_000;
/** Blobs whose readers are counted. */
const MAX_CROWDS = 1_024;

export interface PlannerOptions {
  readonly view: MemberView;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly parameters?: Partial<PlannerParameters>;
  /** Called when there is something to take after there was nothing. Take it later in the same turn, not inside. */
  readonly onActions?: () => void;
  /** For each piece whose lease is over: to be counted. */
  readonly onLeaseEnd?: (why: LeaseEnd) => void;
}

interface Planned {
  readonly key: string;
  readonly plan: SegmentPlan;
  /** The live members when the ranks were last looked at, and the first ranks then. */
  seen: readonly Member[] | undefined;
  firstRanks: string;
  readonly inquiries: Set<InquiryHandle>;
  /** Some planner that is not fresh has answered. */
  isTold: boolean;
  /** Until then nothing is granted. */
  heldUntil: number | undefined;
  sources: number;
}

/**
 * Plans the segments that this node is a rank of: who fetches from whom, and who reads from the origin. A pure state
 * machine: events come in by its methods, what is to be done is taken out with `take`, and `tick` is called when
 * `nextAt` has come. It never waits, never throws on what members say, and keeps no piece on two leases.
 */
export class Planner {
  readonly #view: MemberView;
  readonly #clock: () => number;
  readonly #random: () => number;
  readonly #parameters: PlannerParameters;
  readonly #onActions: () => void;
  readonly #onLeaseEnd: (why: LeaseEnd) => void;
  readonly #startedAt: number;
  readonly #peers: PlannedPeers;
  /** Least recently used first. */
  readonly #segments = new Map<string, Planned>();
  readonly #asks = new Map<AskHandle, { planned: Planned; open: OpenAsk }>();
  readonly #inquiries = new Map<InquiryHandle, Planned>();
  readonly #wakeups = new Wakeups<Planned>();
  readonly #crowds = new LRUCache<string, Crowd>({ max: MAX_CROWDS });
  #actions: PlannerAction[] = [];
  #handles = 0;
  #sources = 0;

  constructor(options: PlannerOptions) {
    this.#view = options.view;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#parameters = { ...PLANNER_DEFAULTS, ...options.parameters };
    this.#onActions = options.onActions ?? (() => undefined);
    this.#onLeaseEnd = options.onLeaseEnd ?? (() => undefined);
    this.#startedAt = this.#clock();
    this.#peers = new PlannedPeers(this.#view);
  }

  /** @returns its name for `withdraw` and in the plans that answer it; void after a final one. */
  ask(from: PeerId, ask: Ask): AskHandle {
    const now = this.#clock();
    const handle = this.#handle<AskHandle>();
    const planned = this.#segment(ask);
    this.#consult(planned, now);
    const open = planned.plan.ask(handle, this.#peers.get(from), ask, now);
    this.#asks.set(handle, { planned, open });
    this.#settle(planned, now);
    return handle;
  }

  /** The asker has left. What was assigned to it stays: it may have left this question only. */
  withdraw(handle: AskHandle): void {
    const asked = this.#asks.get(handle);
    if (asked === undefined) return;
    this.#asks.delete(handle);
    asked.planned.plan.withdraw(asked.open);
    this.#settle(asked.planned, this.#clock());
  }

  report(from: PeerId, reports: readonly Report[]): void {
    const now = this.#clock();
    const peer = this.#peers.get(from);
    for (const report of reports) {
      const planned = this.#segment(report);
      planned.plan.report(peer, report, now);
      this.#settle(planned, now);
    }
  }

  inquiry(_from: PeerId, { realm, digest, segment }: Inquiry): Knowledge {
    const now = this.#clock();
    const isFresh = this.#isFresh(now);
    const planned = this.#segments.get(keyOf({ realm, digest, segment }));
    if (planned === undefined)
      return { realm, digest, segment, size: undefined, holders: [], leases: [], isFresh };
    return { realm, digest, segment, ...planned.plan.tell(now), isFresh };
  }

  /** @param knowledge null when the other rank did not answer. */
  knowledge(handle: InquiryHandle, knowledge: Knowledge | null): void {
    const planned = this.#inquiries.get(handle);
    if (planned === undefined) return;
    const now = this.#clock();
    this.#inquiries.delete(handle);
    planned.inquiries.delete(handle);
    if (knowledge !== null) {
      planned.plan.learn(knowledge, now);
      planned.isTold ||= !knowledge.isFresh;
    }
    if (planned.inquiries.size === 0 && !planned.plan.mayGrant && !planned.plan.isPending)
      this.#conclude(planned, now);
    this.#settle(planned, now);
  }

  /** After the view has changed. */
  membersChanged(): void {
    const now = this.#clock();
    const gone = this.#peers.refresh();
    if (gone.length === 0) return;
    for (const [handle, { open }] of this.#asks) if (gone.includes(open.peer)) this.#asks.delete(handle);
    for (const planned of this.#segments.values()) {
      for (const peer of gone) planned.plan.forget(peer);
      this.#settle(planned, now);
    }
  }

  tick(): void {
    const now = this.#clock();
    for (const planned of this.#wakeups.takeDue(now)) {
      if (planned.heldUntil !== undefined && planned.heldUntil <= now) {
        if (planned.plan.isPending) this.#open(planned);
        else this.#conclude(planned, now);
      }
      this.#settle(planned, now);
    }
  }

  /** When `tick` is due, on the given clock. */
  nextAt(): number | undefined {
    return this.#wakeups.next();
  }

  /** What is to be done now, in order. */
  take(): PlannerAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  /** Segments that it knows of, open asks, and holders and receivers of pieces: for metrics and tests. */
  get size(): {
    readonly segments: number;
    readonly asks: number;
    readonly sources: number;
    /** Pieces that are leased out. */
    readonly leases: number;
  } {
    const { leases } = this.#peers;
    return { segments: this.#segments.size, asks: this.#asks.size, sources: this.#sources, leases };
  }

  #segment(name: SegmentName): Planned {
    const key = keyOf(name);
    let planned = this.#segments.get(key);
    if (planned === undefined) {
      const { realm, digest, segment } = name;
      const plan = new SegmentPlan(
        { realm, digest, segment },
        {
          parameters: this.#parameters,
          peers: this.#peers,
          random: this.#random,
          crowd: this.#crowd(name),
          answer: (ask, said) => this.#answer(ask, said),
          leaseEnded: this.#onLeaseEnd,
        },
      );
      planned = {
        key,
        plan,
        seen: undefined,
        firstRanks: '',
        inquiries: new Set(),
        isTold: false,
        heldUntil: undefined,
        sources: 0,
      };
    } else {
      this.#segments.delete(key);
    }
    this.#segments.set(key, planned);
    return planned;
  }

  #crowd({ realm, digest }: SegmentName): Crowd {
    const key = `${realm}/${digest}`;
    let crowd = this.#crowds.get(key);
    if (crowd === undefined) {
      crowd = new Crowd(this.#parameters.crowdMs);
      this.#crowds.set(key, crowd);
    }
    return crowd;
  }

  /** Before the first lease of a segment, and when its ranks have changed, others are asked what they know of it. */
  #consult(planned: Planned, now: number): void {
    const live = this.#view.live();
    if (planned.seen === live) return;
    planned.seen = live;
    const { digest, segment } = planned.plan.name;
    const order = ranks(digest, segment, committee(digest, live));
    const firstRanks = order
      .slice(0, ASKED_RANKS)
      .map(({ id, epoch }) => `${id} ${epoch}`)
      .join(' ');
    if (firstRanks === planned.firstRanks) return;
    planned.firstRanks = firstRanks;
    const others = order.filter(({ id }) => id !== this.#view.self.id);
    const asked = this.#isFresh(now)
      ? others
      : others.filter(({ id }) => !this.#view.isSuspect(id)).slice(0, ASKED_RANKS);
    planned.isTold = false;
    if (asked.length === 0) return;
    planned.plan.mayGrant = false;
    planned.heldUntil = now + this.#parameters.inquiryMs;
    for (const { id } of asked) {
      const inquiry = this.#handle<InquiryHandle>();
      planned.inquiries.add(inquiry);
      this.#inquiries.set(inquiry, planned);
      this.#push({
        kind: 'inquire',
        inquiry,
        to: id,
        question: planned.plan.name,
        timeoutMs: this.#parameters.inquiryMs,
      });
    }
  }

  /** All ranks have answered, or had their time. */
  #conclude(planned: Planned, now: number): void {
    for (const inquiry of planned.inquiries) this.#inquiries.delete(inquiry);
    planned.inquiries.clear();
    const isAllNew = this.#isFresh(now) && !planned.isTold && planned.plan.sources === planned.plan.receiving;
    const heldUntil = Math.min(
      this.#startedAt + ANNOUNCEMENT_WINDOW_MS,
      now + this.#parameters.announcementMs,
    );
    if (isAllNew && heldUntil > now) {
      // Everybody has just started: holders are announcing what they have.
      planned.plan.isPending = true;
      planned.heldUntil = heldUntil;
    } else {
      this.#open(planned);
    }
  }

  #open(planned: Planned): void {
    planned.plan.mayGrant = true;
    planned.plan.isPending = false;
    planned.heldUntil = undefined;
  }

  #settle(planned: Planned, now: number): void {
    planned.plan.settle(now);
    const next = planned.plan.nextAt(now);
    const { heldUntil } = planned;
    this.#wakeups.set(
      planned,
      heldUntil === undefined ? next : next === undefined ? heldUntil : Math.min(heldUntil, next),
    );
    this.#sources += planned.plan.sources - planned.sources;
    planned.sources = planned.plan.sources;
    this.#shrink(planned);
  }

  #shrink(kept: Planned): void {
    const { maxSegments, maxSources } = this.#parameters;
    if (this.#segments.size <= maxSegments && this.#sources <= maxSources) return;
    for (const planned of this.#segments.values()) {
      if (this.#segments.size <= maxSegments && this.#sources <= maxSources) return;
      if (planned === kept || !planned.plan.isIdle) continue;
      this.#segments.delete(planned.key);
      this.#wakeups.set(planned, undefined);
      this.#sources -= planned.sources;
      for (const inquiry of planned.inquiries) this.#inquiries.delete(inquiry);
      planned.plan.dissolve();
    }
  }

  #answer(ask: AskHandle, plan: Plan): void {
    if (plan.isFinal) this.#asks.delete(ask);
    this.#push({ kind: 'plan', ask, plan });
  }

  #push(action: PlannerAction): void {
    this.#actions.push(action);
    if (this.#actions.length === 1) this.#onActions();
  }

  #isFresh(now: number): boolean {
    return now - this.#startedAt < this.#parameters.freshMs;
  }

  #handle<H extends number>(): H {
    this.#handles += 1;
    return this.#handles as H;
  }
}

function keyOf({ realm, digest, segment }: SegmentName): string {
  return `${realm}/${digest}/${segment}`;
}
