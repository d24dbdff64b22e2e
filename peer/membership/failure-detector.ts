import type { Member, PeerId } from '../member.ts';
import type { Link } from './link.ts';
import type { Pulse } from './pulse.ts';
import type { MemberTable } from './table.ts';

/** A member that nobody has heard of for so long is looked for. */
export const SILENCE_MS = 12_000;
/** How long it may object before "suspect" becomes "gone". */
export const OBJECTION_MS = 4_000;
const DIRECT_DEADLINE_MS = 3_000;
const INDIRECT_DEADLINE_MS = 4_000;
const HELPERS = 2;
const MAX_PROBES = 6;
/** One that has just answered is not asked again at once, whoever complains. */
const TRUST_MS = 2_000;
const MAX_SERVED_PROBES = 16;
const SCAN_MS = 1_000;

interface Probe {
  readonly nonce: number;
  readonly startedMs: number;
  stage: 'direct' | 'indirect';
  deadlineMs: number;
  /** Helpers that have not answered yet. */
  awaited: number;
}

export interface FailureDetectorOptions {
  readonly table: MemberTable;
  readonly pulse: Pulse;
  readonly links: () => readonly Link[];
  readonly random: () => number;
  /** Asks a member for a sign of life over a connection; true when it gave one. Bounded in time by the callee (2.5 s). */
  readonly reach: (member: Member) => Promise<boolean>;
  readonly now: () => number;
  /** The table changed. */
  readonly onVerdict: (id: PeerId) => void;
}

/**
 * Finds out who is gone, after SWIM (Das, Gupta, Motivala 2002): a member that is silent, or that somebody complained about, is asked
 * directly, then through two others, then suspected aloud; what it does not deny in time becomes true.
 */
export class FailureDetector {
  readonly #o: FailureDetectorOptions;
  readonly #doubted = new Set<PeerId>();
  readonly #probes = new Map<PeerId, Probe>();
  readonly #answeredMs = new Map<PeerId, number>();
  #nonce = 0;
  #served = 0;
  #scanMs = 0;

  constructor(options: FailureDetectorOptions) {
    this.#o = options;
  }

  /** Somebody saw a sign of trouble: a broken connection, no answer in time. */
  doubt(id: PeerId): void {
    if (id === this.#o.table.self.member.id || this.#o.table.entry(id)?.state !== 'live') return;
    const sinceAnswerMs = this.#o.now() - (this.#answeredMs.get(id) ?? Number.NEGATIVE_INFINITY);
    if (this.#probes.has(id) || sinceAnswerMs < TRUST_MS) return;
    this.#doubted.add(id);
    this.#startProbes();
  }

  tick(): void {
    const nowMs = this.#o.now();
    if (nowMs >= this.#scanMs) this.#scan(nowMs);
    for (const [id, probe] of this.#probes) {
      if (nowMs < probe.deadlineMs) continue;
      if (probe.stage === 'direct') this.#askHelpers(id, probe);
      else this.#fail(id);
    }
    this.#startProbes();
  }

  #scan(nowMs: number): void {
    this.#scanMs = nowMs + SCAN_MS;
    for (const { member, state, sinceMs } of this.#o.table.entries()) {
      if (state === 'live' && this.#o.pulse.silenceMs(member.id, nowMs) > SILENCE_MS) this.doubt(member.id);
      if (state === 'suspect' && nowMs - sinceMs > OBJECTION_MS) this.#judge(member.id, 'gone');
    }
    for (const id of this.#answeredMs.keys()) {
      if (this.#o.table.entry(id) === undefined) this.#answeredMs.delete(id);
    }
  }

  /** Another member cannot reach this one and asks us to try. */
  async serve(link: Link, nonce: number, target: PeerId): Promise<void> {
    const member = this.#o.table.entry(target)?.member;
    if (member === undefined || this.#served >= MAX_SERVED_PROBES) return;
    this.#served += 1;
    try {
      const isAlive = await this.#o.reach(member);
      if (isAlive) this.#o.pulse.noteAlive(target, this.#o.now());
      link.wire.send({ kind: 'probed', nonce, isAlive });
    } finally {
      this.#served -= 1;
    }
  }

  /** A helper's answer. */
  answered(nonce: number, isAlive: boolean): void {
    for (const [id, probe] of this.#probes) {
      if (probe.nonce !== nonce || probe.stage !== 'indirect') continue;
      probe.awaited -= 1;
      if (isAlive) this.#clear(id);
      else if (probe.awaited === 0) this.#fail(id);
    }
  }

  #startProbes(): void {
    for (const id of this.#doubted) {
      if (this.#probes.size >= MAX_PROBES) return;
      this.#doubted.delete(id);
      const entry = this.#o.table.entry(id);
      if (entry?.state === 'live') this.#probe(entry.member);
    }
  }

  #probe(member: Member): void {
    this.#nonce += 1;
    const probe: Probe = {
      nonce: this.#nonce,
      startedMs: this.#o.now(),
      stage: 'direct',
      deadlineMs: this.#o.now() + DIRECT_DEADLINE_MS,
      awaited: 0,
    };
    this.#probes.set(member.id, probe);
    void this.#o.reach(member).then((isAlive) => {
      if (this.#probes.get(member.id) !== probe || probe.stage !== 'direct') return;
      if (isAlive) this.#clear(member.id);
      else this.#askHelpers(member.id, probe);
    });
  }

  #askHelpers(id: PeerId, probe: Probe): void {
    const links = this.#o.links().filter((link) => link.isGreeted && link.peer !== id);
    const helpers: Link[] = [];
    while (helpers.length < HELPERS && links.length > 0) {
      helpers.push(...links.splice(Math.floor(this.#o.random() * links.length), 1));
    }
    if (helpers.length === 0) {
      this.#fail(id);
      return;
    }
    probe.stage = 'indirect';
    probe.deadlineMs = this.#o.now() + INDIRECT_DEADLINE_MS;
    probe.awaited = helpers.length;
    for (const link of helpers) link.wire.send({ kind: 'probe', nonce: probe.nonce, target: id });
  }

  #clear(id: PeerId): void {
    this.#probes.delete(id);
    const nowMs = this.#o.now();
    this.#answeredMs.set(id, nowMs);
    this.#o.pulse.noteAlive(id, nowMs);
  }

  #fail(id: PeerId): void {
    const probe = this.#probes.get(id);
    const nowMs = this.#o.now();
    // It was heard of by other means while it was looked for: on the data plane, or through its heartbeats.
    if (probe !== undefined && this.#o.pulse.silenceMs(id, nowMs) < nowMs - probe.startedMs) {
      this.#clear(id);
      return;
    }
    this.#probes.delete(id);
    this.#judge(id, 'suspect');
  }

  #judge(id: PeerId, state: 'suspect' | 'gone'): void {
    if (this.#o.table.judge(id, state, this.#o.now())) this.#o.onVerdict(id);
  }
}
