import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { DamselflyError } from '../../../src/errors.ts';
import { membershipProof, provenKey } from '../../identity/membership-proof.ts';
import type { NetworkKey } from '../../identity/network-key.ts';
import type { NetworkKeys } from '../../identity/network-keys.ts';
import type { HostPort, PeerId } from '../../member.ts';
import type { FrameHead } from '../frame.ts';
import { FRAME, frame } from '../frame.ts';
import { FrameReader, type FrameSink } from '../frame-reader.ts';
import {
  ALPN,
  decodeHello,
  encodeHello,
  encodeRefusal,
  PROTOCOL_VERSION,
  type RefusalReason,
} from '../hello.ts';
import type { ExchangeLimits } from '../limits.ts';
import type { Refusals } from '../refusals.ts';
import { broken } from '../wire.ts';
import { exporterOf, peerOf, TLS_OPTIONS, type TlsIdentity } from './tls-identity.ts';

const KEEP_ALIVE_MS = 10_000;

export interface ListenerParts {
  readonly identity: TlsIdentity;
  readonly keys: NetworkKeys;
  readonly limits: ExchangeLimits;
  readonly refusals: Refusals;
  /** Members that are cut off. */
  readonly isCutOff: (peer: PeerId) => boolean;
  /** False: as many connections as are taken. */
  readonly makeRoom: () => boolean;
  /** A connection whose other side is proven; `reader` is its to use from here on. */
  readonly onMember: (peer: PeerId, key: NetworkKey, socket: TLSSocket, reader: FrameReader) => void;
}

/** Takes connections, and lets through those of members: until then each has little time, few bytes and few neighbours. */
export class Listener {
  readonly #parts: ListenerParts;
  readonly #servers: Server[] = [];
  /** By both ends' addresses, since a TLS socket does not name the one that it is wrapped around. */
  readonly #arrivals = new Map<string, Arrival>();
  #unproven = 0;
  #isClosed = false;

  constructor(parts: ListenerParts) {
    this.#parts = parts;
  }

  /** @returns what is really listened on. @throws DamselflyError `listen-failed` */
  async listen(addresses: readonly HostPort[]): Promise<HostPort[]> {
    return Promise.all(addresses.map((address) => this.#listenOn(address)));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = this.#servers.map((server) => new Promise<void>((done) => server.close(() => done())));
    for (const { socket } of this.#arrivals.values()) socket.destroy();
    await Promise.all(closed);
  }

  async #listenOn(address: HostPort): Promise<HostPort> {
    const { identity, limits } = this.#parts;
    const server = createServer({
      ...identity.credentials,
      ...TLS_OPTIONS,
      ALPNProtocols: [ALPN],
      requestCert: true,
      // Who it is says its peer id and nothing else; that is checked right after the handshake.
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeMs,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    server.on('connection', (socket) => this.#arrived(socket));
    server.on('secureConnection', (socket) => this.#secured(socket));
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const isLate = error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT';
      // Who hangs up, or only looks whether the port is open, is nobody to tell of.
      if (isLate || error.code?.startsWith('ERR_SSL_') === true)
        this.#parts.refusals.note('in', isLate ? 'timeout' : 'protocol', addressOf(socket), error.code);
      socket.destroy();
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(
          new DamselflyError(
            'listen-failed',
            `the data plane cannot listen on ${address.host}:${address.port} (${(error as NodeJS.ErrnoException).code}); free it, or set peer.dataListen to another`,
            { cause: error },
          ),
        ),
      );
      server.listen(address.port, address.host, resolve);
    });
    server.on('error', () => undefined);
    this.#servers.push(server);
    const { address: host, port } = server.address() as AddressInfo;
    return { host, port };
  }

  #arrived(socket: Socket): void {
    const { limits, refusals } = this.#parts;
    const address = addressOf(socket);
    if (this.#isClosed || !this.#isRoomFor(address)) {
      if (!this.#isClosed) refusals.note('in', 'full', address);
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => {
      refusals.note('in', 'timeout', address);
      socket.destroy();
    }, limits.handshakeMs);
    const key = endsOf(socket);
    const arrival: Arrival = { socket, address, timer, isProven: false };
    this.#arrivals.set(key, arrival);
    this.#unproven += 1;
    socket.once('close', () => {
      this.#proven(key);
      this.#arrivals.delete(key);
    });
  }

  #isRoomFor(address: string): boolean {
    const { limits } = this.#parts;
    if (this.#unproven >= limits.maxUnproven) return false;
    let neighbours = 0;
    for (const other of this.#arrivals.values())
      if (!other.isProven && other.address === address) neighbours += 1;
    return neighbours < limits.maxUnprovenPerAddress;
  }

  #proven(key: string): void {
    const arrival = this.#arrivals.get(key);
    if (arrival === undefined || arrival.isProven) return;
    clearTimeout(arrival.timer);
    arrival.isProven = true;
    this.#unproven -= 1;
  }

  #secured(socket: TLSSocket): void {
    const address = addressOf(socket);
    const key = endsOf(socket);
    socket.on('error', () => undefined);
    const refuse = (reason: RefusalReason, who: string): void => {
      this.#parts.refusals.note('in', reason, who);
      if (socket.destroyed) return;
      socket.off('data', onData);
      socket.write(frame(FRAME.refusal, 0, encodeRefusal(reason)));
      socket.destroySoon();
    };
    let peer: PeerId | undefined;
    const guard = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        if (greeting.isOver) {
          this.#parts.refusals.note('in', 'protocol', peer ?? address, (error as Error).message);
          socket.destroy(error as Error);
        } else if (error instanceof Refused) refuse(error.reason, peer ?? address);
        else
          refuse(
            error instanceof DamselflyError && error.code === 'peer-refused' ? 'certificate' : 'protocol',
            peer ?? address,
          );
      }
    };
    const greeting = new Greeting((body) => {
      if (peer === undefined) return;
      const verdict = this.#judge(socket, peer, body);
      if (!this.#parts.makeRoom()) throw new Refused('full');
      greeting.isOver = true;
      this.#proven(key);
      socket.write(frame(FRAME.hello, 0, verdict.answer));
      this.#parts.onMember(peer, verdict.key, socket, reader);
    });
    const reader = new FrameReader(greeting);
    const onData = (bytes: Buffer): void => guard(() => reader.push(bytes));
    guard(() => {
      if (socket.alpnProtocol !== ALPN) throw new Refused('version');
      if (socket.isSessionReused()) throw new Refused('protocol');
      peer = peerOf(socket);
      if (this.#parts.isCutOff(peer)) throw new Refused('quarantined');
      socket.on('data', onData);
    });
  }

  #judge(socket: TLSSocket, peer: PeerId, body: Buffer): { key: NetworkKey; answer: Buffer } {
    const { identity, keys } = this.#parts;
    const hello = decodeHello(body);
    if (hello.version !== PROTOCOL_VERSION) throw new Refused('version');
    const scene = { exporter: exporterOf(socket), dialler: peer, listener: identity.id };
    const key = provenKey(keys.accepted, { ...scene, role: 'dialler' }, hello.proofs);
    if (key === undefined) throw new Refused('network-key');
    return { key, answer: encodeHello([membershipProof(key, { ...scene, role: 'listener' })]) };
  }
}

interface Arrival {
  readonly socket: Socket;
  readonly address: string;
  readonly timer: NodeJS.Timeout;
  isProven: boolean;
}

class Refused extends Error {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason) {
    super(reason);
    this.reason = reason;
  }
}

/** Takes one hello. */
class Greeting implements FrameSink {
  isOver = false;
  readonly #onHello: (body: Buffer) => void;

  constructor(onHello: (body: Buffer) => void) {
    this.#onHello = onHello;
  }

  onFrame(head: FrameHead, body: Buffer): void {
    if (head.type !== FRAME.hello) throw broken('its first frame is no hello');
    this.#onHello(body);
  }

  dataTarget(): null {
    throw broken('bytes before a hello');
  }

  onData(): void {
    // Never called: no data frame has a beginning here.
  }
}

function addressOf(socket: Socket): string {
  return socket.remoteAddress ?? 'gone';
}

function endsOf(socket: Socket): string {
  return [socket.remoteAddress, socket.remotePort, socket.localAddress, socket.localPort].join(' ');
}
