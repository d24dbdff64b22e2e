import { createHash } from 'node:crypto';
import { Registry } from 'prom-client';
import type { ExchangeLoad } from '../../../peer/exchange/exchange-parts.ts';
import type { Exchange, ExchangeHandlers } from '../../../peer/exchange.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { verifySignature } from '../../../peer/identity/signature.ts';
import type { Member, MemberView, PeerId } from '../../../peer/member.ts';
import { realmOf } from '../../../peer/realm.ts';
import type { Shelf } from '../../../peer/shelf.ts';
import { Swarm } from '../../../peer/swarm/swarm.ts';
import { Trust } from '../../../peer/trust/trust.ts';
import { Credential } from '../../../src/blob/credential.ts';
import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { PIECE_BYTES, pieceCount, pieceSpan, SEGMENT_PIECES } from '../../../src/blob/piece.ts';
import type { KnownBlob, OpenedRead, PieceSource } from '../../../src/blob/source.ts';
import type { OriginId, Upstream } from '../../../src/blob/upstream.ts';
import { Urgency } from '../../../src/blob/urgency.ts';
import { PieceBuffers } from '../../../src/content/piece-buffers.ts';
import { DamselflyError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { SwarmMetrics } from '../../../src/observe/swarm-metrics.ts';
import { seededBytes } from '../origin/content.ts';

export const ORIGIN = 'https://origin.test' as OriginId;
const SIGN_MS = 300;
export const UPSTREAM: Upstream = {
  origin: ORIGIN,
  repository: 'lab/img',
  kind: 'blob',
  credential: Credential.anonymous,
};

export interface SwarmBlob extends KnownBlob {
  readonly bytes: Buffer;
}

export function swarmBlob(seed: string, pieces: number): SwarmBlob {
  const size = (pieces - 1) * PIECE_BYTES + 100;
  const bytes = seededBytes(`swarm ${seed}`, { start: 0, end: size });
  return { digest: digestOf(bytes), size, bytes };
}

/** An origin in memory that counts what it sends. */
export class MemoryOrigin implements PieceSource {
  readonly name = 'origin';
  readonly blobs = new Map<Digest, SwarmBlob>();
  sentBytes = 0;
  /** Awaited before each answer. */
  hold: Promise<void> | undefined;
  /** Thrown in place of an answer. */
  fault: unknown;

  async open(blob: { digest: Digest }, span: { start: number; end: number }): Promise<OpenedRead> {
    await this.hold;
    if (this.fault !== undefined) throw this.fault;
    const known = this.blobs.get(blob.digest);
    if (known === undefined) throw new Error('the origin has no such blob');
    const { bytes, size } = known;
    const end = Math.min(span.end, size);
    const step = 256 * 1024;
    const send = async function* (this: MemoryOrigin): AsyncGenerator<Buffer> {
      for (let at = span.start; at < end; at += step) {
        const chunk = bytes.subarray(at, Math.min(at + step, end));
        this.sentBytes += chunk.length;
        yield chunk;
      }
    };
    return {
      info: { size, mediaType: undefined },
      span: { start: span.start, end },
      chunks: send.call(this),
      close: () => undefined,
    };
  }
}

/** One node without a socket, a disk or a client: what the swarm does with a piece is what it is about. */
export class MemoryNode {
  readonly identity = Identity.generate();
  readonly pieces = new Map<string, { bytes: Buffer; sha256: Buffer }>();
  readonly proven = new Set<Digest>();
  readonly registry = new Registry();
  readonly swarm: Swarm;
  trust: Trust | undefined;
  /** Nobody reaches it, and it reaches nobody. */
  isDown = false;
  receivedBytes = 0;
  readonly #lab: MemorySwarm;

  constructor(lab: MemorySwarm) {
    this.#lab = lab;
    const shelf = this.#shelf();
    this.swarm = new Swarm({
      view: lab.viewOf(this),
      exchange: lab.exchangeOf(this),
      shelf,
      pool: new PieceBuffers(),
      origin: lab.origin,
      sink: {
        put: async ({ digest }, piece, bytes, sha256) => {
          const kept = { bytes: Buffer.from(bytes), sha256: Buffer.from(sha256) };
          this.pieces.set(`${digest}/${piece}`, kept);
          return 'stored';
        },
      },
      trust: (events) => {
        this.trust = new Trust({
          signatory: {
            self: this.identity.id,
            sign: (bytes) => this.identity.sign(bytes),
            verify: verifySignature,
          },
          facts: { load: () => [], put: () => undefined, remove: () => undefined },
          shelf,
          events,
          level: 'attested',
          isListed: () => true,
          now: () => performance.now(),
        });
        return this.trust;
      },
      realmOf: ({ origin }) => realmOf(origin),
      listen: { data: [], control: [] },
      connections: () => ({ tls: 0, libp2p: 0 }),
      metrics: new SwarmMetrics(this.registry),
      received: (bytes) => {
        this.receivedBytes += bytes;
      },
      log: silentLogger,
    });
  }

  get id(): PeerId {
    return this.identity.id;
  }

  /** As a flight does it: the whole piece, into the store. @returns where it came from. */
  async read(blob: KnownBlob, piece: number, signal = AbortSignal.timeout(20_000)): Promise<string> {
    const span = pieceSpan(piece, blob.size);
    const opened = await this.swarm.source.open(blob, span, {
      signal,
      urgency: new Urgency('demand'),
      upstream: UPSTREAM,
    });
    const parts: Uint8Array[] = [];
    try {
      for await (const chunk of opened.chunks) {
        if (!(chunk instanceof Uint8Array)) throw new TypeError('a file');
        parts.push(chunk);
      }
    } finally {
      opened.close();
    }
    const bytes = Buffer.concat(parts);
    await this.swarm.sink.put(blob, piece, bytes, createHash('sha256').update(bytes).digest());
    return opened.source ?? 'peer';
  }

  /** Every piece, so many at once. */
  async readAll(blob: KnownBlob, atOnce = 8): Promise<void> {
    const pieces = Array.from({ length: pieceCount(blob.size) }, (_, piece) => piece).values();
    const walk = async (): Promise<void> => {
      for (const piece of pieces) await this.read(blob, piece);
    };
    await Promise.all(Array.from({ length: atOnce }, walk));
  }

  has(blob: SwarmBlob): boolean {
    for (let piece = 0; piece < pieceCount(blob.size); piece += 1) {
      const { start, end } = pieceSpan(piece, blob.size);
      const kept = this.pieces.get(`${blob.digest}/${piece}`);
      if (kept?.bytes.equals(blob.bytes.subarray(start, end)) !== true) return false;
    }
    return true;
  }

  /** The value of a series with exactly these labels. */
  async metric(series: string): Promise<number> {
    const text = await this.registry.metrics();
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1) ?? Number.NaN);
  }

  #shelf(): Shelf {
    const { blobs } = this.#lab.origin;
    const piecesOf = (digest: Digest): number[] =>
      [...this.pieces.keys()]
        .filter((key) => key.startsWith(`${digest}/`))
        .map((key) => Number(key.slice(digest.length + 1)));
    return {
      realmsOf: () => [realmOf(ORIGIN)],
      sizeOf: (digest) => blobs.get(digest)?.size,
      has: (digest, piece) => this.pieces.has(`${digest}/${piece}`),
      sha256Of: (digest, piece) => this.pieces.get(`${digest}/${piece}`)?.sha256,
      isProven: (digest) => this.proven.has(digest),
      lend: async ({ digest }, piece) => {
        const kept = this.pieces.get(`${digest}/${piece}`);
        return kept === undefined ? null : { ...kept, release: () => undefined };
      },
      inventory: () =>
        [...blobs.values()].map((blob) => {
          const segments = new Map<number, number>();
          for (const piece of piecesOf(blob.digest)) {
            const segment = Math.floor(piece / SEGMENT_PIECES);
            segments.set(segment, (segments.get(segment) ?? 0) | (1 << (piece % SEGMENT_PIECES)));
          }
          return { blob, segments };
        }),
      drop: (digest, piece) => {
        this.pieces.delete(`${digest}/${piece}`);
        const blob = blobs.get(digest);
        if (blob !== undefined) this.swarm.lost(blob, Math.floor(piece / SEGMENT_PIECES));
      },
    };
  }
}

/** Nodes that call each other's functions, and know each other from the start. */
export class MemorySwarm {
  readonly origin = new MemoryOrigin();
  readonly nodes: MemoryNode[] = [];
  readonly #listeners = new Set<() => void>();
  readonly #members = new Map<PeerId, Member>();
  #live: readonly Member[] = [];

  constructor(count: number) {
    for (let n = 0; n < count; n += 1) this.add();
  }

  add(): MemoryNode {
    const node = new MemoryNode(this);
    this.nodes.push(node);
    this.#tell();
    return node;
  }

  addBlob(blob: SwarmBlob): SwarmBlob {
    this.origin.blobs.set(blob.digest, blob);
    return blob;
  }

  /** It dies; whether others hear of it is another matter. */
  kill(node: MemoryNode, isNoticed: boolean): void {
    node.isDown = true;
    node.swarm.stop();
    if (!isNoticed) return;
    this.#members.delete(node.id);
    this.#tell();
  }

  stop(): void {
    for (const node of this.nodes) node.swarm.stop();
  }

  viewOf(node: MemoryNode): MemberView & { heardFrom(id: PeerId): void } {
    const self: Member = { id: node.id, data: [], control: [], zone: '', epoch: 1 };
    this.#members.set(node.id, self);
    const suspects = new Set<PeerId>();
    return {
      self,
      live: () => this.#live,
      find: (id) => this.#members.get(id),
      suspect: (id) => {
        suspects.add(id);
        this.#tell();
      },
      isSuspect: (id) => suspects.has(id),
      heardFrom: (id) => suspects.delete(id),
      onChange: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    };
  }

  exchangeOf(from: MemoryNode): Exchange & { load(): ExchangeLoad; cutOff(peer: PeerId): void } {
    const at = (to: Member): ExchangeHandlers => {
      const node = this.nodes.find(({ id }) => id === to.id);
      if (node === undefined || node.isDown || from.isDown)
        throw new DamselflyError('peer-unreachable', 'It is down');
      return node.swarm.handlers;
    };
    return {
      ask: async (to, ask, onPlan, signal) => await at(to).onAsk(from.id, ask, onPlan, signal),
      report: async (to, reports) => at(to).onReport(from.id, reports),
      inquire: async (to, inquiry) => at(to).onInquiry(from.id, inquiry),
      fetch: async (to, fetch, onProgress, signal) => {
        const handlers = at(to);
        const signs = setInterval(() => onProgress(0), SIGN_MS);
        try {
          if (!(await handlers.awaitPiece(from.id, fetch, signal))) return { kind: 'gone' };
        } finally {
          clearInterval(signs);
        }
        const served = await at(to).onFetch(from.id, fetch, signal);
        if (served.kind !== 'piece') return served;
        const bytes = Buffer.from(served.bytes);
        served.release();
        signal.throwIfAborted();
        onProgress(bytes.length);
        return { kind: 'piece', bytes, voucher: served.voucher };
      },
      connected: () => [],
      close: async () => undefined,
      load: () => ({ connections: 0, uploads: { active: 0, queued: 0 } }),
      cutOff: () => undefined,
    };
  }

  #tell(): void {
    this.#live = [...this.#members.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const listener of [...this.#listeners]) listener();
  }
}
