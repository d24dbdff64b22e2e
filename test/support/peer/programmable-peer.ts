import { createHash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import {
  decodeAsk,
  decodeFetch,
  decodeInquiry,
  decodeReports,
  encodeKnowledge,
  encodePeers,
  encodePieceHead,
  encodePlan,
} from '../../../peer/exchange/codec.ts';
import { NO_COUNTERS } from '../../../peer/exchange/counters.ts';
import { FRAME, type FrameHead, frame, frameHead, MAX_DATA_BYTES } from '../../../peer/exchange/frame.ts';
import type { FrameReader, FrameSink } from '../../../peer/exchange/frame-reader.ts';
import { DEFAULT_LIMITS } from '../../../peer/exchange/limits.ts';
import { Refusals } from '../../../peer/exchange/refusals.ts';
import { Listener } from '../../../peer/exchange/tls/listener.ts';
import { TlsExchange } from '../../../peer/exchange/tls/tls-exchange.ts';
import { tlsIdentity } from '../../../peer/exchange/tls/tls-identity.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import type { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { verifySignature } from '../../../peer/identity/signature.ts';
import type { HostPort, Member, PeerId } from '../../../peer/member.ts';
import type { Ask, Fetch, Inquiry, Knowledge, Plan, Report } from '../../../peer/messages.ts';
import { Notary } from '../../../peer/trust/statement.ts';
import type { Voucher } from '../../../peer/voucher.ts';
import { pieceLength } from '../../../src/blob/piece.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { CountingPool } from './counting-pool.ts';
import { pieceBytes } from './words.ts';

/** What it does when it is asked for a piece. */
export type Behaviour =
  | { readonly kind: 'serve' }
  /** Wrong bytes: with a good voucher of its own for them, or with one that claims to be of `by`. */
  | { readonly kind: 'lie'; readonly forgedBy?: PeerId }
  /** Takes the question and says nothing, or stops after half the piece; the connection stays. */
  | { readonly kind: 'stall'; readonly after: 'question' | 'half' }
  /** Ends the connection after half the piece. */
  | { readonly kind: 'reset' }
  /** So few bytes, again and again. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number }
  | { readonly kind: 'busy'; readonly others: readonly PeerId[] }
  /** Whatever it has claimed: it is not here. */
  | { readonly kind: 'gone' }
  /** Ends the connection right away. */
  | { readonly kind: 'hang up' }
  /** These bytes, in place of an answer. */
  | { readonly kind: 'raw'; readonly bytes: (tag: number) => Uint8Array };

export interface ProgrammablePeerOptions {
  readonly keys: NetworkKeys;
  readonly identity?: Identity;
  readonly listen?: HostPort;
  /** The right bytes of a piece; some of the tests' own when it is not given. */
  readonly content?: (fetch: Fetch) => Buffer | Promise<Buffer>;
}

/**
 * A real member of the network: it has an identity, proves the key, is dialled and dials. What it says is scripted, and
 * may be changed while it runs. The questions that it gets are kept.
 */
export class ProgrammablePeer {
  readonly identity: Identity;
  readonly member: Member;
  /** To ask others, and to tell planners what it has or claims to have. */
  readonly exchange: TlsExchange;
  readonly asks: { readonly from: PeerId; readonly ask: Ask }[] = [];
  readonly fetches: { readonly from: PeerId; readonly fetch: Fetch }[] = [];
  readonly reports: { readonly from: PeerId; readonly reports: readonly Report[] }[] = [];
  behaviour: Behaviour = { kind: 'serve' };
  /** Plans for an ask, in their order; none: the planner is silent. */
  plans: (ask: Ask) => readonly Plan[] = () => [];
  /** undefined: silent. */
  knows: (inquiry: Inquiry) => Knowledge | undefined = () => undefined;
  /** Members are turned away at the door. */
  refuses = false;
  /** Not even a ping is answered, as by a stopped process. */
  isDeaf = false;

  readonly #listener: Listener;
  readonly #content: (fetch: Fetch) => Buffer | Promise<Buffer>;
  readonly #notary: Notary;
  readonly #sockets = new Set<TLSSocket>();

  private constructor(parts: {
    identity: Identity;
    member: Member;
    exchange: TlsExchange;
    listener: Listener;
    content: (fetch: Fetch) => Buffer | Promise<Buffer>;
  }) {
    this.identity = parts.identity;
    this.member = parts.member;
    this.exchange = parts.exchange;
    this.#listener = parts.listener;
    this.#content = parts.content;
    this.#notary = new Notary({
      self: parts.identity.id,
      sign: (bytes) => parts.identity.sign(bytes),
      verify: verifySignature,
    });
  }

  static async start(options: ProgrammablePeerOptions): Promise<ProgrammablePeer> {
    const { keys, identity = Identity.generate() } = options;
    const pool = new CountingPool();
    const exchange = await TlsExchange.create({ identity, keys, pool, log: silentLogger });
    const refusals = new Refusals({ transport: 'tls', log: silentLogger, counters: NO_COUNTERS });
    const listener = new Listener({
      identity: await tlsIdentity(identity),
      keys,
      limits: DEFAULT_LIMITS,
      refusals,
      isCutOff: () => peer.refuses,
      makeRoom: () => true,
      onMember: (from, _key, socket, reader) => peer.#met(from, socket, reader),
    });
    const data = await listener.listen([options.listen ?? { host: '127.0.0.1', port: 0 }]);
    const member = { id: identity.id, data, control: [], zone: '', epoch: Date.now() };
    const content =
      options.content ?? ((fetch: Fetch) => pieceBytes(fetch.piece, pieceLength(fetch.piece, fetch.size)));
    const peer = new ProgrammablePeer({ identity, member, exchange, listener, content });
    return peer;
  }

  get id(): PeerId {
    return this.identity.id;
  }

  /** As it would be for bytes that it read from the origin. */
  vouch(fetch: Fetch, bytes: Uint8Array): Voucher {
    const sha256 = createHash('sha256').update(bytes).digest();
    const { realm, digest, size, piece } = fetch;
    return this.#notary.vouch('attested', { realm, digest, size, piece, sha256 });
  }

  /** Everything that is open ends, as when its process is killed. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    await Promise.all([this.exchange.close(), this.#listener.close()]);
  }

  #met(from: PeerId, socket: TLSSocket, reader: FrameReader): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const sink: FrameSink = {
      onFrame: (head, body) => this.#heard(from, socket, head, body),
      dataTarget: () => null,
      onData: () => undefined,
    };
    reader.sink = sink;
    reader.isTrusted = true;
  }

  #heard(from: PeerId, socket: TLSSocket, { type, tag }: FrameHead, body: Buffer): void {
    if (type === FRAME.ping) {
      if (!this.isDeaf) socket.write(frame(FRAME.pong, tag));
    } else if (type === FRAME.report) {
      this.reports.push({ from, reports: decodeReports(body) });
    } else if (type === FRAME.ask) {
      const ask = decodeAsk(body);
      this.asks.push({ from, ask });
      for (const plan of this.plans(ask)) socket.write(frame(FRAME.plan, tag, encodePlan(plan)));
    } else if (type === FRAME.inquiry) {
      const knowledge = this.knows(decodeInquiry(body));
      if (knowledge !== undefined) socket.write(frame(FRAME.knowledge, tag, encodeKnowledge(knowledge)));
    } else if (type === FRAME.fetch) {
      const fetch = decodeFetch(body);
      this.fetches.push({ from, fetch });
      this.#answer(socket, tag, fetch).catch((error: Error) => socket.destroy(error));
    }
  }

  async #answer(socket: TLSSocket, tag: number, fetch: Fetch): Promise<void> {
    const { behaviour } = this;
    switch (behaviour.kind) {
      case 'hang up':
        socket.destroy();
        return;
      case 'busy':
        socket.write(frame(FRAME.busy, tag, encodePeers(behaviour.others)));
        return;
      case 'gone':
        socket.write(frame(FRAME.gone, tag));
        return;
      case 'raw':
        socket.write(behaviour.bytes(tag));
        return;
      case 'stall':
        if (behaviour.after === 'question') return;
        await this.#send(socket, tag, fetch, { stopAt: 0.5 });
        return;
      case 'reset':
        await this.#send(socket, tag, fetch, { stopAt: 0.5 });
        socket.destroy();
        return;
      case 'drip':
        await this.#send(socket, tag, fetch, { chunkBytes: behaviour.bytes, everyMs: behaviour.everyMs });
        return;
      case 'lie':
        await this.#send(socket, tag, fetch, { lie: behaviour });
        return;
      case 'serve':
        await this.#send(socket, tag, fetch, {});
    }
  }

  async #send(
    socket: TLSSocket,
    tag: number,
    fetch: Fetch,
    how: {
      readonly stopAt?: number;
      readonly chunkBytes?: number;
      readonly everyMs?: number;
      readonly lie?: { readonly forgedBy?: PeerId };
    },
  ): Promise<void> {
    const right = await this.#content(fetch);
    const bytes =
      how.lie === undefined ? right : Buffer.from(right).fill(0x66, 0, Math.min(64, right.length));
    const voucher =
      how.lie?.forgedBy === undefined
        ? this.vouch(fetch, bytes)
        : { ...this.vouch(fetch, bytes), by: how.lie.forgedBy };
    socket.write(frame(FRAME.piece, tag, encodePieceHead({ length: bytes.length, voucher })));
    const end = Math.floor(bytes.length * (how.stopAt ?? 1));
    const chunkBytes = how.chunkBytes ?? MAX_DATA_BYTES;
    for (let at = 0; at < end && !socket.destroyed; at += chunkBytes) {
      const part = bytes.subarray(at, Math.min(end, at + chunkBytes));
      await new Promise<void>((sent) => {
        socket.write(Buffer.concat([frameHead(FRAME.data, tag, part.length), part]), () => sent());
      });
      if (how.everyMs !== undefined) await new Promise((next) => setTimeout(next, how.everyMs).unref());
    }
  }
}
