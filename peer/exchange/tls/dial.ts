import type { LookupFunction, OnReadOpts } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { DamselflyError } from '../../../src/errors.ts';
import { membershipProof, provenKey } from '../../identity/membership-proof.ts';
import type { NetworkKey } from '../../identity/network-key.ts';
import type { NetworkKeys } from '../../identity/network-keys.ts';
import type { HostPort, PeerId } from '../../member.ts';
import { Caller, type CallerParts } from '../caller.ts';
import { refusedBy, unreachable } from '../channel.ts';
import { FRAME, type FrameHead, frame } from '../frame.ts';
import { FrameReader, type FrameSink } from '../frame-reader.ts';
import { ALPN, decodeHello, decodeRefusal, encodeHello, PROTOCOL_VERSION } from '../hello.ts';
import { broken } from '../wire.ts';
import { TlsChannel } from './tls-channel.ts';
import { exporterOf, peerOf, TLS_OPTIONS, type TlsIdentity } from './tls-identity.ts';

const KEEP_ALIVE_MS = 10_000;

export interface DialParts extends CallerParts {
  readonly identity: TlsIdentity;
  readonly keys: NetworkKeys;
  /** For names; the system's own when undefined. */
  readonly lookup: LookupFunction | undefined;
}

export interface Dialled {
  readonly caller: Caller;
  /** Under which both sides have proven that they are members. */
  readonly key: NetworkKey;
}

/**
 * One connection to one address, proven from both sides; nothing of a question has left before.
 * @throws DamselflyError `peer-unreachable`, `peer-refused`, `peer-broken`; what the signal says when it aborts.
 */
export function dialAddress(
  parts: DialParts,
  address: HostPort,
  expected: PeerId,
  signal: AbortSignal,
): Promise<Dialled> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const handshake = new Handshake(parts, expected);
    const reader = new FrameReader(handshake);
    let isOver = false;
    const guard = (work: () => void): void => {
      if (isOver) return;
      try {
        work();
      } catch (error) {
        isOver = true;
        end(error instanceof DamselflyError ? error : broken('what it sent could not be read', error));
      }
    };
    let caller: Caller | undefined;
    // What net.connect takes goes through; `onread` has bytes of a piece put where they belong, with no copy in between.
    const options: ConnectionOptions & {
      readonly lookup: LookupFunction | undefined;
      readonly onread: OnReadOpts;
    } = {
      host: address.host,
      port: address.port,
      lookup: parts.lookup,
      secureContext: parts.identity.context,
      ...TLS_OPTIONS,
      ALPNProtocols: [ALPN],
      // Who it is says its peer id and nothing else; that is checked right after the handshake.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      servername: '',
      onread: {
        buffer: () => reader.target(),
        callback: (bytes) => {
          guard(() => reader.advance(bytes));
          return true;
        },
      },
    };
    const socket = connect(options);
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    const end = (error: DamselflyError): void => {
      if (caller !== undefined) caller.destroy(error);
      else fail(error);
    };
    const fail = (error: unknown): void => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(error);
    };
    const abort = (): void => fail(signal.reason);
    signal.addEventListener('abort', abort);
    const onError = (error: Error): void => fail(handshake.failure(error));
    const onClose = (): void => fail(handshake.failure(undefined));
    socket.once('error', onError).once('close', onClose);
    // A socket that was given up may still have something to say.
    socket.on('error', () => undefined);
    socket.once('secureConnect', () => guard(() => handshake.begin(socket)));
    handshake.onProven = (key) => {
      signal.removeEventListener('abort', abort);
      socket.off('error', onError).off('close', onClose);
      const channel = new TlsChannel({
        peer: expected,
        socket,
        stallMs: parts.limits.stallMs,
        onClose: (error) => proven.closed(error),
      });
      const proven = new Caller(channel, reader, parts);
      caller = proven;
      resolve({ caller: proven, key });
    };
  });
}

/** From the end of the TLS handshake to the listener's proof. */
class Handshake implements FrameSink {
  onProven: (key: NetworkKey) => void = () => undefined;
  readonly #parts: DialParts;
  readonly #expected: PeerId;
  #exporter: Buffer | undefined;

  constructor(parts: DialParts, expected: PeerId) {
    this.#parts = parts;
    this.#expected = expected;
  }

  begin(socket: TLSSocket): void {
    if (socket.alpnProtocol !== ALPN) throw refusedBy('it speaks no version of the protocol that we do');
    const found = peerOf(socket);
    if (found !== this.#expected)
      throw refusedBy('another node than the one that was meant is at its address');
    const exporter = exporterOf(socket);
    this.#exporter = exporter;
    const proofs = this.#parts.keys.accepted.map((key) =>
      membershipProof(key, { ...this.#scene(exporter), role: 'dialler' }),
    );
    socket.write(frame(FRAME.hello, 0, encodeHello(proofs)));
  }

  onFrame(head: FrameHead, body: Buffer): void {
    if (this.#exporter === undefined) throw broken('it spoke before it was greeted');
    if (head.type === FRAME.refusal) {
      const reason = decodeRefusal(body);
      if (reason === 'full') throw unreachable('it has as many connections as it takes');
      throw refusedBy(
        reason === 'network-key' ? 'it does not take our network key' : `it refused us (${reason})`,
      );
    }
    const hello = decodeHello(body);
    if (hello.version !== PROTOCOL_VERSION) throw refusedBy(`it speaks version ${hello.version}`);
    const scene = { ...this.#scene(this.#exporter), role: 'listener' as const };
    const key = provenKey(this.#parts.keys.accepted, scene, hello.proofs);
    if (key === undefined) throw refusedBy('it is no member of this network: it has none of its keys');
    this.onProven(key);
  }

  dataTarget(): null {
    throw broken('bytes before a hello');
  }

  onData(): void {
    // Never called: no data frame has a beginning here.
  }

  /** What it means that the connection is gone now. */
  failure(error: Error | undefined): DamselflyError {
    const code = (error as NodeJS.ErrnoException | undefined)?.code;
    if (this.#exporter !== undefined || code?.startsWith('ERR_SSL_') === true)
      return refusedBy('it ended the connection in the middle of the handshake', error);
    return unreachable(code ?? 'it was closed', error);
  }

  #scene(exporter: Buffer) {
    return { exporter, dialler: this.#parts.identity.id, listener: this.#expected };
  }
}
