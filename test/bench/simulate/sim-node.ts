import type { AskId, FetchEnd, FetchId, HuntAction, ReadId, Ticket } from '../../../peer/hunt/actions.ts';
import { Hunt } from '../../../peer/hunt/hunt.ts';
import type { Member, MemberView, PeerId } from '../../../peer/member.ts';
import type { Ask, Fetch, Inquiry, Knowledge, Plan, Report } from '../../../peer/messages.ts';
import type { AskHandle } from '../../../peer/planner/actions.ts';
import { Planner } from '../../../peer/planner/planner.ts';
import { PIECE_BYTES, SEGMENT_PIECES, segmentOfPiece } from '../../../src/blob/piece.ts';
import { type Port, port, type Transfer } from './links.ts';
import { askBytes, FETCH_BYTES, inquiryBytes, planBytes, reportBytes } from './message-bytes.ts';
import type { SimWorld } from './world.ts';

const PROGRESS_MS = 250;
/** As the exchange does it. */
const SIGN_MS = 300;
const SUSPICION_MS = 5_000;

interface Upload {
  readonly to: SimNode;
  readonly id: FetchId;
  readonly piece: number;
  readonly isDemand: boolean;
  transfer: Transfer | undefined;
  isOver: boolean;
}

/** A node of the simulation: the real planner and hunt, and a driver that plays exchange, store and origin. */
export class SimNode {
  readonly member: Member;
  readonly world: SimWorld;
  readonly up: Port;
  readonly down: Port;
  readonly planner: Planner;
  readonly hunt: Hunt;
  readonly has: Uint8Array;
  isDead = false;
  doneAt: number | undefined;
  firstByteAt: number | undefined;
  startedAt = 0;
  controlBytes = 0;
  plannerMessages = 0;
  handshakes = 0;
  peakConnections = 0;
  fromOrigin = 0;
  fromPeers = 0;
  unleased = 0;
  /** Pieces that came too late, and were read from the origin by itself. */
  givenUp = 0;
  hedged = 0;
  busyAnswers = 0;
  readonly touched = new Set<PeerId>();
  readonly #connections = new Map<PeerId, number>();
  readonly #held: Uint16Array;
  readonly #suspects = new Map<PeerId, number>();
  readonly #asks = new Map<AskId, { to: SimNode; handle: AskHandle }>();
  readonly #answers = new Map<AskHandle, (plan: Plan) => void>();
  readonly #fetches = new Map<FetchId, { to: SimNode; upload: Upload | undefined }>();
  readonly #reads = new Map<ReadId, { transfer: Transfer | undefined; isOver: boolean }>();
  readonly #wanted = new Map<number, Ticket>();
  /** Pieces that a reader has come to. */
  readonly #reached = new Set<number>();
  readonly #tickets = new Map<Ticket, number>();
  readonly #waiters = new Map<number, Upload[]>();
  #uploading = 0;
  #awaited = 0;
  readonly #queue: Upload[] = [];
  #wakeAt = Number.POSITIVE_INFINITY;
  #isTaking = false;
  onPiece: (piece: number) => void = () => undefined;

  constructor(world: SimWorld, member: Member) {
    this.world = world;
    this.member = member;
    const { scenario, clock } = world;
    this.up = port(scenario.upRate);
    this.down = port(scenario.downRate);
    this.has = new Uint8Array(scenario.pieces);
    this.#held = new Uint16Array(Math.ceil(scenario.pieces / SEGMENT_PIECES));
    const view: MemberView = {
      self: member,
      live: () => world.live,
      find: (id) => world.liveById.get(id),
      suspect: (id) => this.#suspect(id),
      isSuspect: (id) => (this.#suspects.get(id) ?? 0) > clock.now,
      onChange: () => () => undefined,
    };
    const stir = (): void => this.#stir();
    this.planner = new Planner({
      view,
      clock: () => clock.now + 100_000,
      random: world.random,
      parameters: { freshMs: 0, ...scenario.planner },
      onActions: stir,
    });
    this.hunt = new Hunt({
      view,
      clock: () => clock.now,
      held: ({ segment }) => this.#held[segment] ?? 0,
      load: () => this.#uploading + this.#queue.length + this.#awaited,
      parameters: scenario.hunt,
      onActions: stir,
    });
  }

  get queueLength(): number {
    return this.#queue.length;
  }

  get id(): PeerId {
    return this.member.id;
  }

  /** @param isAhead the reader has not come to it yet. */
  want(piece: number, isAhead: boolean): void {
    const { clock, scenario, blob } = this.world;
    const known = this.#wanted.get(piece);
    if (known !== undefined) {
      if (isAhead || this.#reached.has(piece)) return;
      this.#reached.add(piece);
      this.hunt.change(known, { isAwaited: true, deadlineAt: clock.now + scenario.patienceMs });
      return;
    }
    if (!isAhead) this.#reached.add(piece);
    const ticket = this.hunt.want(blob, piece, {
      urgency: 'demand',
      mayLease: true,
      isAwaited: !isAhead,
      deadlineAt: clock.now + (isAhead ? scenario.aheadPatienceMs : scenario.patienceMs),
    });
    this.#wanted.set(piece, ticket);
    this.#tickets.set(ticket, piece);
  }

  die(): void {
    this.isDead = true;
    for (const { transfer } of this.#reads.values())
      if (transfer !== undefined) this.world.links.stop(transfer);
    for (const { to, upload } of this.#fetches.values()) if (upload !== undefined) to.#cancelUpload(upload);
    for (const transfer of [...this.down.transfers, ...this.up.transfers]) this.world.links.stop(transfer);
    if (this.world.scenario.deathKind === 'silent') return;
    for (const node of this.world.nodes) node.#peerReset(this);
  }

  membersChanged(): void {
    this.planner.membersChanged();
    this.hunt.membersChanged();
    this.#stir();
  }

  #peerReset(peer: SimNode): void {
    for (const [ask, { to }] of this.#asks) if (to === peer) this.hunt.askFailed(ask);
    for (const [fetch, { to }] of this.#fetches) if (to === peer) this.#fetchEnded(fetch, { kind: 'silent' });
  }

  #suspect(id: PeerId): void {
    const { clock } = this.world;
    this.#suspects.set(id, clock.now + SUSPICION_MS);
    clock.in(SUSPICION_MS + 1, () => {
      if (!this.isDead) this.hunt.membersChanged();
    });
  }

  #stir(): void {
    if (this.#isTaking || this.isDead) return;
    this.#isTaking = true;
    this.world.clock.in(0, () => this.#turn());
  }

  #turn(): void {
    this.#isTaking = false;
    if (this.isDead) return;
    this.planner.tick();
    this.hunt.tick();
    for (const action of this.planner.take()) {
      if (action.kind === 'plan') {
        const answer = this.#answers.get(action.ask);
        if (action.plan.isFinal) this.#answers.delete(action.ask);
        answer?.(action.plan);
      } else {
        this.#inquire(action.to, action.question, (knowledge) =>
          this.planner.knowledge(action.inquiry, knowledge),
        );
      }
    }
    for (const action of this.hunt.take()) this.#do(action);
    const next = Math.min(
      (this.planner.nextAt() ?? Number.POSITIVE_INFINITY) - 100_000,
      this.hunt.nextAt() ?? Number.POSITIVE_INFINITY,
    );
    const { clock } = this.world;
    if (next >= this.#wakeAt && this.#wakeAt > clock.now) return;
    if (next === Number.POSITIVE_INFINITY) return;
    this.#wakeAt = next;
    // A little later: a sum of fractions may fall short of the moment itself, again and again.
    clock.at(Math.max(next, clock.now) + 0.001, () => {
      if (this.#wakeAt === next) this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#stir();
    });
  }

  #do(action: HuntAction): void {
    switch (action.kind) {
      case 'ask':
        this.#ask(action.ask, action.to, action.question);
        return;
      case 'drop-ask':
        this.#dropAsk(action.ask);
        return;
      case 'fetch':
        this.#fetch(action.fetch, action.to, action.question);
        return;
      case 'drop-fetch': {
        const fetch = this.#fetches.get(action.fetch);
        this.#fetches.delete(action.fetch);
        if (fetch?.upload !== undefined) fetch.to.#cancelUpload(fetch.upload);
        return;
      }
      case 'read':
        if (action.reason === 'unleased') this.unleased += action.pieces.end - action.pieces.first;
        if (action.reason === 'hedge') this.hedged += action.pieces.end - action.pieces.first;
        this.#read(action.read, action.pieces.first, action.pieces.end);
        return;
      case 'drop-read': {
        const read = this.#reads.get(action.read);
        this.#reads.delete(action.read);
        if (read === undefined) return;
        read.isOver = true;
        if (read.transfer !== undefined) this.world.links.stop(read.transfer);
        return;
      }
      case 'report':
        this.#report(action.to, action.reports);
        return;
      case 'settled': {
        const piece = this.#tickets.get(action.ticket);
        this.#tickets.delete(action.ticket);
        if (action.how === 'here' || piece === undefined || this.has[piece] === 1) return;
        this.givenUp += 1;
        this.#readAlone(piece);
        return;
      }
    }
  }

  /** A message to another node; it may be dead by then. @param bytes 0 to oneself. */
  #send(to: SimNode, bytes: number, arrive: () => void, refused: () => void = () => undefined): void {
    const { clock, scenario } = this.world;
    if (to === this) {
      clock.in(0, arrive);
      return;
    }
    const delay = scenario.latencyMs + this.connect(to);
    to.connect(this);
    this.controlBytes += bytes;
    to.controlBytes += bytes;
    if (this.world.random() < scenario.loss) return;
    clock.in(delay, () => {
      if (!to.isDead) arrive();
      else if (scenario.deathKind === 'reset') clock.in(scenario.latencyMs, refused);
    });
  }

  /** @returns what a new connection costs in time. */
  connect(to: SimNode): number {
    this.touched.add(to.id);
    const isNew = !this.#connections.delete(to.id);
    this.#connections.set(to.id, this.world.clock.now);
    if (!isNew) return 0;
    this.handshakes += 1;
    if (this.#connections.size > this.world.scenario.maxConnections) {
      for (const oldest of this.#connections.keys()) {
        this.#connections.delete(oldest);
        this.world.node(oldest).#connections.delete(this.id);
        break;
      }
    }
    this.peakConnections = Math.max(this.peakConnections, this.#connections.size);
    return 2 * this.world.scenario.latencyMs;
  }

  #ask(ask: AskId, to: PeerId, question: Ask): void {
    const node = this.world.node(to);
    this.plannerMessages += 1;
    this.#send(
      node,
      askBytes(question),
      () => {
        node.plannerMessages += 1;
        const handle = node.planner.ask(this.id, question);
        this.#asks.set(ask, { to: node, handle });
        node.#answers.set(handle, (plan) => {
          node.plannerMessages += 1;
          node.#send(this, planBytes(plan), () => {
            this.plannerMessages += 1;
            if (plan.isFinal) this.#asks.delete(ask);
            this.hunt.plan(ask, plan);
          });
        });
        node.#stir();
      },
      () => this.hunt.askFailed(ask),
    );
  }

  #dropAsk(ask: AskId): void {
    const open = this.#asks.get(ask);
    if (open === undefined) return;
    this.#asks.delete(ask);
    this.#send(open.to, 40, () => {
      open.to.#answers.delete(open.handle);
      open.to.planner.withdraw(open.handle);
    });
  }

  #report(to: PeerId, reports: readonly Report[]): void {
    const node = this.world.node(to);
    this.plannerMessages += 1;
    this.#send(node, reportBytes(reports), () => {
      node.plannerMessages += 1;
      node.planner.report(this.id, reports);
      node.#stir();
    });
  }

  #inquire(to: PeerId, inquiry: Inquiry, answer: (knowledge: Knowledge | null) => void): void {
    const node = this.world.node(to);
    this.plannerMessages += 1;
    this.#send(
      node,
      inquiryBytes(null),
      () => {
        node.plannerMessages += 1;
        const knowledge = node.planner.inquiry(this.id, inquiry);
        node.#send(this, inquiryBytes(knowledge), () => {
          answer(knowledge);
          this.#stir();
        });
      },
      () => answer(null),
    );
  }

  #fetch(id: FetchId, to: PeerId, { piece, waitMs, urgency }: Fetch): void {
    const { clock } = this.world;
    const node = this.world.node(to);
    const fetch: { to: SimNode; upload: Upload | undefined } = { to: node, upload: undefined };
    this.#fetches.set(id, fetch);
    this.#send(
      node,
      FETCH_BYTES,
      () => {
        if (!this.#fetches.has(id)) return;
        const upload: Upload = {
          to: this,
          id,
          piece,
          isDemand: urgency === 'demand',
          transfer: undefined,
          isOver: false,
        };
        fetch.upload = upload;
        node.#serve(upload, waitMs);
        const sign = (): void => {
          if (upload.isOver || node.isDead || this.isDead) return;
          this.hunt.fetchProgress(id, 0);
          clock.in(SIGN_MS, sign);
        };
        clock.in(SIGN_MS, sign);
        clock.in(waitMs, () => node.#tooLate(upload));
      },
      () => this.#fetchEnded(id, { kind: 'silent' }),
    );
  }

  /** It waited for a slot for too long. */
  #tooLate(upload: Upload): void {
    const at = this.#queue.indexOf(upload);
    if (at < 0 || this.isDead) return;
    this.#queue.splice(at, 1);
    this.#answer(upload, { kind: 'busy', others: [] });
  }

  #serve(upload: Upload, waitMs: number): void {
    const { piece } = upload;
    if (this.has[piece] === 1) {
      this.#enqueue(upload);
      return;
    }
    if (!this.#wanted.has(piece)) {
      this.#answer(upload, { kind: 'gone' });
      return;
    }
    const waiters = this.#waiters.get(piece) ?? [];
    waiters.push(upload);
    this.#awaited += 1;
    this.#waiters.set(piece, waiters);
    this.world.clock.in(waitMs, () => {
      if (upload.isOver || !waiters.includes(upload)) return;
      waiters.splice(waiters.indexOf(upload), 1);
      this.#awaited -= 1;
      this.#answer(upload, { kind: 'gone' });
    });
  }

  #enqueue(upload: Upload): void {
    if (upload.isOver) return;
    const { slots, queue } = this.world.scenario;
    if (this.#uploading >= slots) {
      if (this.#queue.length >= queue) this.#answer(upload, { kind: 'busy', others: [] });
      else this.#queue.push(upload);
      return;
    }
    this.#uploading += 1;
    const { to } = upload;
    const { links, clock } = this.world;
    to.#send(this, 0, () => undefined);
    upload.transfer = links.start(this.up, to.down, PIECE_BYTES, () => {
      if (!this.isDead) this.#uploaded(upload);
      if (!upload.isOver) {
        upload.isOver = true;
        to.#fetchEnded(upload.id, { kind: 'verified' });
      }
    });
    let told = 0;
    const progress = (): void => {
      const { transfer } = upload;
      if (upload.isOver || transfer === undefined || this.isDead || to.isDead) return;
      const sent = PIECE_BYTES - transfer.left + (clock.now - transfer.since) * transfer.rate;
      to.hunt.fetchProgress(upload.id, Math.max(1, Math.round(sent - told)));
      told = sent;
      clock.in(PROGRESS_MS, progress);
    };
    clock.in(this.world.scenario.latencyMs, progress);
  }

  #uploaded(upload: Upload): void {
    upload.transfer = undefined;
    this.#uploading -= 1;
    const demand = this.#queue.findIndex(({ isDemand }) => isDemand);
    const [next] = this.#queue.splice(Math.max(demand, 0), 1);
    if (next !== undefined) this.#enqueue(next);
  }

  #cancelUpload(upload: Upload): void {
    if (upload.isOver) return;
    upload.isOver = true;
    if (upload.transfer !== undefined) {
      this.world.links.stop(upload.transfer);
      this.#uploaded(upload);
      return;
    }
    const at = this.#queue.indexOf(upload);
    if (at >= 0) this.#queue.splice(at, 1);
    const waiters = this.#waiters.get(upload.piece);
    if (waiters?.includes(upload)) {
      waiters.splice(waiters.indexOf(upload), 1);
      this.#awaited -= 1;
    }
  }

  #answer(upload: Upload, end: FetchEnd): void {
    if (upload.isOver) return;
    upload.isOver = true;
    if (end.kind === 'busy') this.busyAnswers += 1;
    this.#send(upload.to, 40, () => upload.to.#fetchEnded(upload.id, end));
  }

  #fetchEnded(id: FetchId, end: FetchEnd): void {
    const fetch = this.#fetches.get(id);
    if (fetch === undefined || this.isDead) return;
    this.#fetches.delete(id);
    const piece = fetch.upload?.piece;
    this.hunt.fetchEnded(id, end);
    if (end.kind !== 'verified' || piece === undefined) return;
    this.fromPeers += 1;
    this.#arrived(piece, false);
  }

  #read(id: ReadId, first: number, end: number): void {
    const { clock, scenario, links, origin, blob } = this.world;
    const read: { transfer: Transfer | undefined; isOver: boolean } = { transfer: undefined, isOver: false };
    this.#reads.set(id, read);
    const next = (piece: number): void => {
      if (read.isOver || this.isDead) return;
      if (piece >= end) {
        read.isOver = true;
        this.#reads.delete(id);
        this.hunt.readEnded(id, 'done');
        return;
      }
      read.transfer = links.start(origin, this.down, PIECE_BYTES, () => {
        read.transfer = undefined;
        if (this.isDead) return;
        this.fromOrigin += 1;
        this.world.originPieces += 1;
        this.hunt.delivered(blob, piece);
        this.#arrived(piece, true);
        next(piece + 1);
      });
    };
    const progress = (): void => {
      if (read.isOver || this.isDead) return;
      if (read.transfer !== undefined) this.hunt.readProgress(id);
      clock.in(PROGRESS_MS, progress);
    };
    clock.in(scenario.originDelayMs, () => {
      next(first);
      progress();
    });
  }

  #readAlone(piece: number): void {
    const { clock, scenario, links, origin } = this.world;
    clock.in(scenario.originDelayMs, () => {
      if (this.isDead) return;
      links.start(origin, this.down, PIECE_BYTES, () => {
        if (this.isDead) return;
        this.fromOrigin += 1;
        this.world.originPieces += 1;
        this.#arrived(piece, true);
      });
    });
  }

  #arrived(piece: number, isFromOrigin: boolean): void {
    const { blob, clock } = this.world;
    if (this.has[piece] === 1) {
      this.world.duplicates += 1;
      return;
    }
    this.has[piece] = 1;
    this.firstByteAt ??= clock.now;
    const segment = segmentOfPiece(piece);
    this.#held[segment] = (this.#held[segment] ?? 0) | (1 << (piece % SEGMENT_PIECES));
    const voucher = { kind: 'attested' as const, by: this.id, signature: SIGNATURE };
    this.hunt.here(blob, piece, isFromOrigin ? { sha256: SHA256, voucher } : undefined);
    this.#wanted.delete(piece);
    const waiters = this.#waiters.get(piece) ?? [];
    this.#waiters.delete(piece);
    this.#awaited -= waiters.length;
    for (const upload of waiters) this.#enqueue(upload);
    this.onPiece(piece);
  }
}

const SIGNATURE = new Uint8Array(64);
const SHA256 = new Uint8Array(32);
