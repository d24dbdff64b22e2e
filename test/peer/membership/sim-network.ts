import type { Member, PeerId } from '../../../peer/member.ts';
import { Gossip } from '../../../peer/membership/gossip.ts';
import type { Link, LinkWire } from '../../../peer/membership/link.ts';
import { decodeMessage, encodeMessage, type Message } from '../../../peer/membership/message.ts';
import type { Row, RowSeal } from '../../../peer/membership/row.ts';
import { Random } from '../../support/random.ts';

const SIGNATURE = Buffer.alloc(64, 7);
/** Signatures cost nothing here; that forged ones are refused is a test of its own. */
export const OPEN_SEAL: RowSeal = { sign: () => SIGNATURE, verify: () => true };

const TICK_MS = 250;
const REACH_MS = 2_500;
const FRAME_OVERHEAD = 4;

export function rowOf(id: string, change: Partial<Row> = {}): Row {
  return {
    id: id as PeerId,
    data: [{ host: `10.0.0.${id}`, port: 4005 }],
    control: [`/ip4/10.0.0.${id}/tcp/4006`],
    zone: 'rack-1',
    epoch: 1_000,
    version: 0,
    isLeaving: false,
    ...change,
  };
}

export interface SimNode {
  readonly id: PeerId;
  readonly gossip: Gossip;
  isUp: boolean;
  /** Takes nothing and sends nothing, as a process that was sent SIGSTOP; its connections stay. */
  isStopped: boolean;
  sentBytes: number;
  sentMessages: number;
  dials: number;
  reaches: number;
  changes: number;
  readonly ends: Map<Link, SimEnd>;
  readonly backlog: (() => void)[];
}

interface SimEnd {
  readonly owner: SimNode;
  link: Link | undefined;
  other: SimEnd | undefined;
  isClosed: boolean;
}

/** A swarm in one process, with a clock of its own: messages take some ms, links break, the network parts. */
export class SimNetwork {
  readonly nodes = new Map<PeerId, SimNode>();
  readonly random: Random;
  nowMs = 0;
  /** Whether messages pass between two nodes. */
  passes: (a: PeerId, b: PeerId) => boolean = () => true;
  readonly #checksFrames: boolean;
  #queue: { atMs: number; order: number; run: () => void }[] = [];
  #order = 0;
  #hasPromises = false;

  /** @param checksFrames sends every message through its wire form; off for large swarms, where its length is reckoned. */
  constructor(seed: number, checksFrames = true) {
    this.random = new Random(seed);
    this.#checksFrames = checksFrames;
  }

  add(id: string, change: Partial<Row> = {}): SimNode {
    const node: SimNode = {
      id: id as PeerId,
      gossip: undefined as unknown as Gossip,
      isUp: true,
      isStopped: false,
      sentBytes: 0,
      sentMessages: 0,
      dials: 0,
      reaches: 0,
      changes: 0,
      ends: new Map(),
      backlog: [],
    };
    const gossip = new Gossip({
      self: rowOf(id, change),
      seal: OPEN_SEAL,
      now: () => this.nowMs,
      random: () => this.random.next(),
      dial: (member) => this.dial(node, member.id),
      reach: (member) => this.#reach(node, member),
      flushIn: (delayMs) => this.at(delayMs, () => this.#run(node, () => gossip.flush())),
      onChange: () => {
        node.changes += 1;
      },
      onForgery: () => undefined,
    });
    Object.assign(node, { gossip });
    this.nodes.set(node.id, node);
    const tick = (): void => {
      if (!node.isUp) return;
      if (!node.isStopped) gossip.tick();
      this.at(TICK_MS, tick);
    };
    this.at(this.random.integer(0, TICK_MS), tick);
    return node;
  }

  at(delayMs: number, run: () => void): void {
    this.#order += 1;
    push(this.#queue, { atMs: this.nowMs + delayMs, order: this.#order, run });
  }

  /** Lets so much time pass; promises that were resolved run in between. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    while ((this.#queue[0]?.atMs ?? Number.POSITIVE_INFINITY) <= endMs) {
      const next = pop(this.#queue);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.run();
      // Those that follow from it come before the next; the longest chain of promises inside has three.
      if (this.#hasPromises) for (let i = 0; i < 4; i += 1) await Promise.resolve();
      this.#hasPromises = false;
    }
    this.nowMs = endMs;
  }

  /** Until the check holds. @returns ms that passed. */
  async until(check: () => boolean, limitMs: number, stepMs = 50): Promise<number> {
    const startMs = this.nowMs;
    while (!check()) {
      if (this.nowMs - startMs > limitMs) throw new Error(`not within ${limitMs} simulated ms`);
      await this.pass(stepMs);
    }
    return this.nowMs - startMs;
  }

  /** A contact by discovery, or a link that partners open. */
  async dial(from: SimNode, to: PeerId): Promise<boolean> {
    from.dials += 1;
    const target = this.nodes.get(to);
    const isThere = await this.#roundTrip(from, target, 1_000);
    if (!isThere || target === undefined) return false;
    this.#connect(from, target);
    return true;
  }

  /** The process ends without a word; the kernel closes its sockets. */
  kill(node: SimNode): void {
    node.isUp = false;
    this.nodes.delete(node.id);
    for (const end of [...node.ends.values()]) this.#close(end, true);
  }

  async leave(node: SimNode): Promise<void> {
    node.gossip.leave();
    await this.pass(50);
    this.kill(node);
  }

  stop(node: SimNode): void {
    node.isStopped = true;
  }

  resume(node: SimNode): void {
    node.isStopped = false;
    for (const run of node.backlog.splice(0)) run();
  }

  /** Whether each of these knows exactly these. */
  agrees(nodes: Iterable<SimNode> = this.nodes.values()): boolean {
    const list = [...nodes];
    const expected = list.map((node) => node.id).sort();
    return list.every((node) => {
      const live = node.gossip.table.live();
      return live.length === expected.length && live.every((member, i) => member.id === expected[i]);
    });
  }

  #connect(from: SimNode, to: SimNode): void {
    const a: SimEnd = { owner: from, link: undefined, other: undefined, isClosed: false };
    const b: SimEnd = { owner: to, link: undefined, other: a, isClosed: false };
    a.other = b;
    this.#attach(a, to.id, true);
    this.#attach(b, from.id, false);
  }

  #attach(end: SimEnd, peer: PeerId, isOutbound: boolean): void {
    const wire: LinkWire = {
      send: (message) => this.#send(end, message),
      close: () => this.#close(end, false),
    };
    const link = end.owner.gossip.opened(peer, isOutbound, wire);
    if (link === undefined) return;
    end.link = link;
    end.owner.ends.set(link, end);
  }

  #send(end: SimEnd, message: Message): void {
    const { owner, other } = end;
    if (end.isClosed || other === undefined) return;
    const frame = this.#checksFrames ? encodeMessage(message) : undefined;
    owner.sentBytes += (frame?.length ?? lengthOf(message)) + FRAME_OVERHEAD;
    owner.sentMessages += 1;
    const arrived = frame === undefined ? message : decodeMessage(frame);
    if (!this.passes(owner.id, other.owner.id)) return;
    this.at(this.#latencyMs(owner, other.owner), () =>
      this.#run(other.owner, () => {
        if (other.link !== undefined && !other.isClosed) other.owner.gossip.received(other.link, arrived);
      }),
    );
  }

  #close(end: SimEnd, isKilled: boolean): void {
    if (end.isClosed) return;
    end.isClosed = true;
    const { owner, other, link } = end;
    if (link !== undefined) owner.ends.delete(link);
    if (other === undefined || !(isKilled || this.passes(owner.id, other.owner.id))) return;
    this.at(this.#latencyMs(owner, other.owner), () =>
      this.#run(other.owner, () => {
        if (other.isClosed) return;
        other.isClosed = true;
        if (other.link === undefined) return;
        other.owner.ends.delete(other.link);
        other.owner.gossip.closed(other.link, false);
      }),
    );
  }

  async #reach(from: SimNode, member: Member): Promise<boolean> {
    from.reaches += 1;
    return this.#roundTrip(from, this.nodes.get(member.id), REACH_MS);
  }

  #roundTrip(from: SimNode, to: SimNode | undefined, deadlineMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    // Nobody listens: refused at once. No way there, or stopped: silence.
    const isSilent = to !== undefined && (to.isStopped || !this.passes(from.id, to.id));
    this.at(isSilent ? deadlineMs : 2 + this.random.next() * 6, () => {
      this.#hasPromises = true;
      resolve(to !== undefined && !isSilent && to.isUp);
    });
    return promise;
  }

  #run(node: SimNode, work: () => void): void {
    if (!node.isUp) return;
    if (node.isStopped) node.backlog.push(work);
    else work();
  }

  /** In order on one link: later ones never come earlier. */
  #latencyMs(from: SimNode, to: SimNode): number {
    return 1 + ((from.id.length * 7 + to.id.length * 13) % 3);
  }
}

/** Of a message's wire form, to within a few percent; in a large swarm, encoding would be most of the work. */
function lengthOf(message: Message): number {
  if (message.kind === 'rows') {
    return message.entries.reduce(
      (sum, { signed }) => sum + signed.bytes.length + signed.signature.length + 3,
      3,
    );
  }
  if (message.kind === 'beats') return 11 + message.beats.length * 9;
  if (message.kind === 'summary') return 3 + message.items.length * 9;
  return encodeMessage(message).length;
}

type Event = { atMs: number; order: number; run: () => void };

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** A binary heap, the earliest first. */
function push(heap: Event[], event: Event): void {
  heap.push(event);
  let at = heap.length - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !before(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): Event {
  const [top] = heap;
  const last = heap.pop();
  if (top === undefined || last === undefined) throw new Error('nothing is left to happen');
  if (heap.length === 0) return top;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    if (left === undefined) break;
    const right = heap[2 * at + 2];
    const child = right !== undefined && before(right, left) ? 2 * at + 2 : 2 * at + 1;
    const next = heap[child];
    if (next === undefined || !before(next, last)) break;
    heap[at] = next;
    at = child;
  }
  heap[at] = last;
  return top;
}
