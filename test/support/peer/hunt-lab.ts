import type { AskId, FetchEnd, FetchId, HuntAction, ReadId, Ticket } from '../../../peer/hunt/actions.ts';
import { Hunt } from '../../../peer/hunt/hunt.ts';
import type { HuntParameters } from '../../../peer/hunt/parameters.ts';
import type { Member, MemberView, PeerId } from '../../../peer/member.ts';
import type { Plan } from '../../../peer/messages.ts';
import type { AskHandle } from '../../../peer/planner/actions.ts';
import { Planner } from '../../../peer/planner/planner.ts';
import { PIECE_BYTES, SEGMENT_PIECES } from '../../../src/blob/piece.ts';
import { SimClock } from '../../bench/simulate/clock.ts';
import { Links, type Port, port, type Transfer } from '../../bench/simulate/links.ts';
import { digestNumber, memberNumber, REALM, seeded } from '../../peer/planner/support.ts';

const LATENCY_MS = 1;
const SIGN_MS = 300;
const TICK_MS = 50;
const SUSPICION_MS = 5_000;
/** As in swarm-source.ts. */
const PATIENCE_MS = 4_000;
const ORIGIN_DELAY_MS = 10;
const VOUCHER = { kind: 'attested', signature: new Uint8Array(64) } as const;
const SHA256 = new Uint8Array(32);

/** What a node does when it is asked for a piece; bytes per second, of all fetches together or of each. */
export type LabBehaviour =
  | { readonly kind: 'serve' }
  | { readonly kind: 'silent' }
  /** Sends so much of each piece at the speed of its link, and no more. */
  | { readonly kind: 'stall'; readonly bytes: number }
  /** Each fetch on its own. */
  | { readonly kind: 'drip'; readonly rate: number }
  | { readonly kind: 'busy' }
  | { readonly kind: 'gone' };

export interface LabOptions {
  readonly nodes: number;
  readonly pieces: number;
  readonly originRate: number;
  readonly linkRate?: number;
  readonly slots?: number;
  readonly seed?: number;
  readonly hunt?: Partial<HuntParameters>;
  /** Each message, each turn and each answer of the origin waits up to so long, as on a machine that has no time. */
  readonly lagMs?: number;
  readonly patienceMs?: number;
  readonly log?: boolean;
}

interface Upload {
  readonly to: LabNode;
  readonly id: FetchId;
  readonly piece: number;
  transfer: Transfer | undefined;
  isOver: boolean;
}

/**
 * Readers with the real planner and hunt over simulated links, in simulated time, beside members that misbehave: for how
 * long a piece takes, and what it costs the origin.
 */
export class HuntLab {
  readonly options: LabOptions;
  readonly clock = new SimClock();
  readonly links = new Links(this.clock);
  readonly random: () => number;
  readonly origin: Port;
  readonly blob;
  readonly nodes: LabNode[];
  live: readonly Member[];
  originPieces = 0;
  readonly log: string[] = [];

  constructor(options: LabOptions) {
    this.options = options;
    this.random = seeded(options.seed ?? 1);
    this.origin = port(options.originRate);
    this.blob = { realm: REALM, digest: digestNumber(options.seed ?? 1), size: options.pieces * PIECE_BYTES };
    const members = Array.from({ length: options.nodes }, (_, n) => memberNumber(n));
    this.live = members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    this.nodes = members.map((member, n) => new LabNode(this, member, `n${n}`));
  }

  node(n: number): LabNode {
    const node = this.nodes[n];
    if (node === undefined) throw new RangeError(`there is no node ${n}`);
    return node;
  }

  find(id: PeerId): LabNode {
    const node = this.nodes.find((one) => one.member.id === id);
    if (node === undefined) throw new Error(`there is no node ${id}`);
    return node;
  }

  say(node: LabNode, what: string): void {
    if (this.options.log === true)
      this.log.push(`${this.clock.now.toFixed(0).padStart(6)} ${node.name} ${what}`);
  }

  /** Runs until all of them have read what they read. @returns how long that took, in ms. */
  run(readers: readonly LabNode[], limitMs = 120_000): number {
    const from = this.clock.now;
    this.clock.run(() => readers.every(({ isReading }) => !isReading), from + limitMs);
    return this.clock.now - from;
  }

  /** Nobody reads anything new meanwhile. */
  pass(ms: number): void {
    const end = this.clock.now + ms;
    this.clock.at(end, () => undefined);
    this.clock.run(() => this.clock.now >= end, end);
  }

  /** It is out of reach at once; the others hear of it later. */
  unplug(node: LabNode, noticedAfterMs: number): void {
    node.isDown = true;
    this.clock.in(noticedAfterMs, () => {
      this.live = this.live.filter(({ id }) => id !== node.member.id);
      for (const other of this.nodes) other.membersChanged();
    });
  }
}

export class LabNode {
  readonly member: Member;
  readonly name: string;
  readonly hunt: Hunt;
  readonly planner: Planner;
  readonly up: Port;
  readonly down: Port;
  readonly has = new Set<number>();
  behaviour: LabBehaviour = { kind: 'serve' };
  isDown = false;
  isReading = false;
  /** How long each piece took, in ms, from the time when it was wanted on demand. */
  readonly waits: number[] = [];
  fromOrigin = 0;
  hedged = 0;
  unleased = 0;
  givenUp = 0;
  readonly asked = new Map<PeerId, number>();
  readonly #lab: HuntLab;
  readonly #suspects = new Map<PeerId, number>();
  readonly #asks = new Map<AskId, { to: LabNode; handle: AskHandle }>();
  readonly #answers = new Map<AskHandle, (plan: Plan) => void>();
  readonly #fetches = new Map<FetchId, { to: LabNode; piece: number; upload: Upload | undefined }>();
  readonly #reads = new Map<ReadId, { isOver: boolean; transfer: Transfer | undefined }>();
  readonly #reading = new Set<number>();
  readonly #wanted = new Map<number, { ticket: Ticket; since: number }>();
  readonly #tickets = new Map<Ticket, number>();
  readonly #arriving = new Map<number, Upload[]>();
  readonly #queue: Upload[] = [];
  /** When the last message to each node arrives. */
  readonly #lastAt = new Map<LabNode, number>();
  #uploading = 0;
  #isTaking = false;
  #wakeAt = Number.POSITIVE_INFINITY;
  onPiece: () => void = () => undefined;

  constructor(lab: HuntLab, member: Member, name: string) {
    this.#lab = lab;
    this.member = member;
    this.name = name;
    const { clock, options } = lab;
    this.up = port(options.linkRate ?? 100e6);
    this.down = port(options.linkRate ?? 100e6);
    const view: MemberView = {
      self: member,
      live: () => lab.live,
      find: (id) => lab.live.find((one) => one.id === id),
      suspect: (id) => {
        this.#suspects.set(id, clock.now + SUSPICION_MS);
        clock.in(SUSPICION_MS + 1, () => this.hunt.membersChanged());
      },
      isSuspect: (id) => (this.#suspects.get(id) ?? 0) > clock.now,
      onChange: () => () => undefined,
    };
    const onActions = (): void => this.#stir();
    this.planner = new Planner({
      ...{ view, random: lab.random, parameters: { freshMs: 0 }, onActions },
      clock: () => clock.now + 100_000,
    });
    this.hunt = new Hunt({
      ...{ view, clock: () => clock.now, parameters: { leaseRun: 1, ...options.hunt }, onActions },
      held: ({ segment }) => this.#held(segment),
      load: () => this.#uploading + this.#queue.length,
    });
  }

  /** It has all of the blob, and says so. */
  hold(): void {
    for (let piece = 0; piece < this.#lab.options.pieces; piece += 1) {
      this.has.add(piece);
      this.hunt.here(this.#lab.blob, piece, { sha256: SHA256, voucher: { ...VOUCHER, by: this.member.id } });
    }
  }

  /** Everything that it has is evicted. */
  forget(): void {
    const segments = new Map<number, number>();
    for (const piece of this.has) {
      const segment = Math.floor(piece / SEGMENT_PIECES);
      segments.set(segment, (segments.get(segment) ?? 0) | (1 << (piece % SEGMENT_PIECES)));
    }
    this.has.clear();
    for (const [segment, mask] of segments) this.hunt.lost(this.#lab.blob, segment, mask);
  }

  /** All of it: 8 pieces at once, then more, as a client that reads one whole blob is served. */
  readWhole(): void {
    const { pieces } = this.#lab.options;
    let position = 0;
    this.isReading = true;
    this.onPiece = () => {
      while (position < pieces && this.has.has(position)) position += 1;
      if (position === pieces) this.isReading = false;
      let reach = 8;
      while (reach <= position && reach < 48) reach *= 2;
      for (let piece = position; piece < Math.min(pieces, position + reach); piece += 1)
        this.#want(piece, true);
    };
    this.onPiece();
  }

  /** Ranges of one piece, one after another; what follows is read ahead from the second on. */
  readRanges(): void {
    const { pieces } = this.#lab.options;
    let position = 0;
    let ahead = 0;
    this.isReading = true;
    this.onPiece = () => {
      while (position < pieces && this.has.has(position)) {
        position += 1;
        ahead = Math.min(Math.max(1, 2 * ahead), 8);
      }
      if (position === pieces) {
        this.isReading = false;
        return;
      }
      this.#want(position, true);
      for (let piece = position + 1; piece < Math.min(pieces, position + 1 + ahead); piece += 1)
        this.#want(piece, false);
    };
    this.onPiece();
  }

  membersChanged(): void {
    this.planner.membersChanged();
    this.hunt.membersChanged();
  }

  #held(segment: number): number {
    let mask = 0;
    for (let slot = 0; slot < SEGMENT_PIECES; slot += 1)
      if (this.has.has(segment * SEGMENT_PIECES + slot)) mask |= 1 << slot;
    return mask;
  }

  #want(piece: number, isDemand: boolean): void {
    if (this.has.has(piece)) return;
    const { clock, blob, options } = this.#lab;
    const known = this.#wanted.get(piece);
    if (known !== undefined) {
      if (isDemand && known.since === 0) {
        known.since = clock.now;
        this.hunt.change(known.ticket, { urgency: 'demand' });
      }
      return;
    }
    const deadlineAt = clock.now + (options.patienceMs ?? PATIENCE_MS);
    const urgency = isDemand ? 'demand' : 'prefetch';
    const ticket = this.hunt.want(blob, piece, { urgency, mayLease: true, deadlineAt });
    this.#wanted.set(piece, { ticket, since: isDemand ? clock.now : 0 });
    this.#tickets.set(ticket, piece);
  }

  #stir(): void {
    if (this.#isTaking) return;
    this.#isTaking = true;
    this.#lab.clock.in(this.#lag(), () => this.#turn());
  }

  #lag(): number {
    return this.#lab.random() * (this.#lab.options.lagMs ?? 0);
  }

  #turn(): void {
    this.#isTaking = false;
    this.planner.tick();
    this.hunt.tick();
    for (const action of this.planner.take()) {
      if (action.kind === 'plan') {
        const answer = this.#answers.get(action.ask);
        if (action.plan.isFinal) this.#answers.delete(action.ask);
        answer?.(action.plan);
        continue;
      }
      const to = this.#lab.find(action.to);
      this.#send(to, () => {
        const knowledge = to.planner.inquiry(this.member.id, action.question);
        to.#send(this, () => this.planner.knowledge(action.inquiry, knowledge));
      });
    }
    for (const action of this.hunt.take()) this.#do(action);
    const { clock } = this.#lab;
    const next = Math.min(
      (this.planner.nextAt() ?? Number.POSITIVE_INFINITY) - 100_000,
      this.hunt.nextAt() ?? Number.POSITIVE_INFINITY,
    );
    if (next === Number.POSITIVE_INFINITY || (next >= this.#wakeAt && this.#wakeAt > clock.now)) return;
    this.#wakeAt = next;
    clock.at(next, () => {
      if (this.#wakeAt === next) this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#stir();
    });
  }

  #send(to: LabNode, arrive: () => void): void {
    const { clock } = this.#lab;
    // In order, as over one connection.
    const at = Math.max(this.#lastAt.get(to) ?? 0, clock.now + (to === this ? 0 : LATENCY_MS + this.#lag()));
    this.#lastAt.set(to, at);
    clock.at(at, () => {
      if (to !== this && (to.isDown || this.isDown)) return;
      arrive();
      to.#stir();
    });
  }

  #do(action: HuntAction): void {
    const lab = this.#lab;
    switch (action.kind) {
      case 'ask': {
        const to = lab.find(action.to);
        const { wanted, underway, hedge, leases, failed } = action.question;
        lab.say(
          this,
          `asks ${to.name} segment ${action.question.segment} wanted ${wanted.toString(2)} underway ${underway.toString(2)} hedge ${hedge.toString(2)} leases ${leases} failed ${failed.map(({ from, why, pieces }) => `${lab.find(from).name} ${why} ${pieces.toString(2)}`).join('; ')}`,
        );
        this.#send(to, () => {
          const handle = to.planner.ask(this.member.id, action.question);
          this.#asks.set(action.ask, { to, handle });
          to.#answers.set(handle, (plan) => {
            to.#send(this, () => {
              if (plan.isFinal) this.#asks.delete(action.ask);
              for (const one of plan.assignments)
                lab.say(
                  this,
                  one.kind === 'lease'
                    ? `told to read ${one.pieces.toString(2)}${one.isHedge ? ' as a hedge' : ''}`
                    : `told to fetch ${one.pieces.toString(2)} from ${one.from.map((id) => lab.find(id).name).join(' ')}`,
                );
              this.hunt.plan(action.ask, plan);
            });
          });
        });
        return;
      }
      case 'drop-ask': {
        const open = this.#asks.get(action.ask);
        this.#asks.delete(action.ask);
        if (open === undefined) return;
        this.#send(open.to, () => {
          open.to.#answers.delete(open.handle);
          open.to.planner.withdraw(open.handle);
        });
        return;
      }
      case 'fetch':
        this.#fetch(action.fetch, action.to, action.question.piece, action.question.waitMs);
        return;
      case 'drop-fetch': {
        const fetch = this.#fetches.get(action.fetch);
        this.#fetches.delete(action.fetch);
        if (fetch === undefined) return;
        lab.say(this, `drops the fetch of ${fetch.piece} from ${fetch.to.name}`);
        if (fetch.upload !== undefined) fetch.to.#cancel(fetch.upload);
        return;
      }
      case 'read':
        lab.say(this, `reads ${action.pieces.first} (${action.reason})`);
        if (action.reason === 'unleased') this.unleased += 1;
        if (action.reason === 'hedge') this.hedged += 1;
        this.#read(action.read, action.pieces.first);
        return;
      case 'drop-read': {
        const read = this.#reads.get(action.read);
        this.#reads.delete(action.read);
        // As in the product: what has begun goes on.
        if (read !== undefined) lab.say(this, 'is told to drop a read');
        return;
      }
      case 'report': {
        const to = lab.find(action.to);
        this.#send(to, () => to.planner.report(this.member.id, action.reports));
        return;
      }
      case 'settled': {
        const piece = this.#tickets.get(action.ticket);
        this.#tickets.delete(action.ticket);
        if (action.how === 'here' || piece === undefined || this.has.has(piece)) return;
        lab.say(this, `gives ${piece} up and reads it alone`);
        this.givenUp += 1;
        this.#read(undefined, piece);
        return;
      }
    }
  }

  #fetch(id: FetchId, to: PeerId, piece: number, waitMs: number): void {
    const { clock } = this.#lab;
    const node = this.#lab.find(to);
    this.#lab.say(this, `fetches ${piece} from ${node.name}`);
    this.asked.set(to, (this.asked.get(to) ?? 0) + 1);
    const fetch: { to: LabNode; piece: number; upload: Upload | undefined } = {
      to: node,
      piece,
      upload: undefined,
    };
    this.#fetches.set(id, fetch);
    this.#send(node, () => {
      if (!this.#fetches.has(id) || node.behaviour.kind === 'silent') return;
      const upload: Upload = { to: this, id, piece, transfer: undefined, isOver: false };
      fetch.upload = upload;
      const sign = (): void => {
        if (upload.isOver || node.behaviour.kind === 'stall' || upload.transfer !== undefined || node.isDown)
          return;
        this.hunt.fetchProgress(id, 0);
        clock.in(SIGN_MS, sign);
      };
      clock.in(SIGN_MS, sign);
      clock.in(waitMs, () => {
        const waiting = node.#arriving.get(piece) ?? [];
        if (upload.isOver || upload.transfer !== undefined || !waiting.includes(upload)) return;
        waiting.splice(waiting.indexOf(upload), 1);
        node.#answer(upload, { kind: 'gone' });
      });
      node.#serve(upload);
    });
  }

  #serve(upload: Upload): void {
    const { behaviour } = this;
    const { piece } = upload;
    if (behaviour.kind === 'busy') this.#answer(upload, { kind: 'busy', others: [] });
    else if (behaviour.kind === 'gone') this.#answer(upload, { kind: 'gone' });
    else if (behaviour.kind === 'drip') this.#drip(upload, behaviour.rate);
    else if (this.has.has(piece)) this.#enqueue(upload);
    else if (this.#isAskedFor(piece, upload.to)) this.#answer(upload, { kind: 'gone' });
    else if (this.#wanted.has(piece))
      this.#arriving.set(piece, [...(this.#arriving.get(piece) ?? []), upload]);
    else this.#answer(upload, { kind: 'gone' });
  }

  /** As in the product: two do not wait for each other. */
  #isAskedFor(piece: number, of: LabNode): boolean {
    if (this.#reading.has(piece)) return false;
    for (const fetch of this.#fetches.values()) if (fetch.piece === piece && fetch.to === of) return true;
    return false;
  }

  #drip(upload: Upload, rate: number): void {
    const { clock } = this.#lab;
    const bytes = (rate * TICK_MS) / 1000;
    const drip = (left: number): void => {
      if (upload.isOver || this.isDown) return;
      upload.to.#progress(upload, bytes);
      if (left > bytes) clock.in(TICK_MS, () => drip(left - bytes));
      else this.#answer(upload, { kind: 'verified' });
    };
    clock.in(TICK_MS, () => drip(PIECE_BYTES));
  }

  #enqueue(upload: Upload): void {
    if (upload.isOver) return;
    if (this.#uploading >= (this.#lab.options.slots ?? 8)) {
      this.#queue.push(upload);
      return;
    }
    this.#uploading += 1;
    const { links, clock } = this.#lab;
    const isStalling = this.behaviour.kind === 'stall';
    const bytes = this.behaviour.kind === 'stall' ? this.behaviour.bytes : PIECE_BYTES;
    let told = 0;
    const transfer = links.start(this.up, upload.to.down, bytes, () => {
      if (isStalling) upload.to.#progress(upload, bytes - told);
      this.#uploaded(upload);
      if (!isStalling) this.#answer(upload, { kind: 'verified' });
    });
    upload.transfer = transfer;
    const progress = (): void => {
      if (upload.isOver || upload.transfer === undefined || this.isDown) return;
      const sent = bytes - (transfer.left - (clock.now - transfer.since) * transfer.rate);
      if (sent > told) upload.to.#progress(upload, sent - told);
      told = sent;
      clock.in(TICK_MS, progress);
    };
    clock.in(LATENCY_MS, progress);
  }

  #progress(upload: Upload, bytes: number): void {
    if (!upload.isOver && bytes > 0) this.hunt.fetchProgress(upload.id, bytes);
  }

  #uploaded(upload: Upload): void {
    upload.transfer = undefined;
    this.#uploading -= 1;
    const next = this.#queue.shift();
    if (next !== undefined) this.#enqueue(next);
  }

  #cancel(upload: Upload): void {
    if (upload.isOver) return;
    upload.isOver = true;
    if (upload.transfer !== undefined) {
      this.#lab.links.stop(upload.transfer);
      this.#uploaded(upload);
    }
    const at = this.#queue.indexOf(upload);
    if (at >= 0) this.#queue.splice(at, 1);
  }

  #answer(upload: Upload, end: FetchEnd): void {
    if (upload.isOver) return;
    const { to, id, piece } = upload;
    this.#send(to, () => {
      if (upload.isOver) return;
      upload.isOver = true;
      if (!to.#fetches.delete(id)) return;
      if (end.kind !== 'verified') this.#lab.say(to, `hears "${end.kind}" of ${piece} from ${this.name}`);
      to.hunt.fetchEnded(id, end);
      if (end.kind === 'verified') to.#arrived(piece, false);
    });
  }

  #read(id: ReadId | undefined, piece: number): void {
    const { clock, links, origin } = this.#lab;
    const read: { isOver: boolean; transfer: Transfer | undefined } = { isOver: false, transfer: undefined };
    if (id !== undefined) this.#reads.set(id, read);
    this.#reading.add(piece);
    const progress = (): void => {
      if (read.isOver || id === undefined) return;
      this.hunt.readProgress(id);
      clock.in(100, progress);
    };
    clock.in(ORIGIN_DELAY_MS + this.#lag(), () => {
      progress();
      read.transfer = links.start(origin, this.down, PIECE_BYTES, () => {
        read.isOver = true;
        this.#reading.delete(piece);
        this.#lab.originPieces += 1;
        this.fromOrigin += 1;
        this.#arrived(piece, true);
        if (id !== undefined) this.#reads.delete(id);
      });
    });
  }

  #arrived(piece: number, isFromOrigin: boolean): void {
    if (this.has.has(piece)) return;
    const { blob, clock } = this.#lab;
    this.has.add(piece);
    const wanted = this.#wanted.get(piece);
    this.#wanted.delete(piece);
    if (wanted !== undefined && wanted.since > 0) this.waits.push(clock.now - wanted.since);
    this.#lab.say(this, `has ${piece}${isFromOrigin ? ' from the origin' : ''}`);
    this.hunt.delivered(blob, piece);
    const mark = { sha256: SHA256, voucher: { ...VOUCHER, by: this.member.id } };
    this.hunt.here(blob, piece, isFromOrigin ? mark : undefined);
    for (const upload of this.#arriving.get(piece) ?? []) this.#enqueue(upload);
    this.#arriving.delete(piece);
    this.onPiece();
    this.#stir();
  }
}
