import type { AbortOptions, MultiaddrConnection } from '@libp2p/interface';
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils';
import type { Uint8ArrayList } from 'uint8arraylist';
import type { Cipher } from './cipher.ts';

/**
 * A connection under libp2p's private network cipher (libp2p specs, pnet): XSalsa20 each way, keyed by the network key. It
 * only keeps strangers out; secrecy and identity come from the handshake inside.
 */
export class SealedConnection extends AbstractMultiaddrConnection {
  readonly #inner: MultiaddrConnection;
  readonly #inbound: Cipher;
  readonly #outbound: Cipher;
  #isOver = false;

  constructor(inner: MultiaddrConnection, ciphers: { inbound: Cipher; outbound: Cipher }) {
    super({
      log: inner.log,
      remoteAddr: inner.remoteAddr,
      direction: inner.direction,
      inactivityTimeout: inner.inactivityTimeout,
    });
    this.#inner = inner;
    this.#inbound = ciphers.inbound;
    this.#outbound = ciphers.outbound;
    this.addEventListener('close', () => this.#release(), { once: true });
    inner.addEventListener('drain', () => this.safeDispatchEvent('drain'));
    inner.addEventListener('close', (event) => {
      if (event.error === undefined) this.onTransportClosed();
      else if (event.local === true) this.abort(event.error);
      else this.onRemoteReset();
    });
  }

  /** @param early what was decrypted while the key was looked for. */
  start(early: Uint8Array): void {
    if (early.length > 0) this.push(early);
    this.#inner.addEventListener('message', ({ data }) => {
      try {
        for (const part of data instanceof Uint8Array ? [data] : data) {
          if (this.#isOver) return;
          // Nobody else has the socket's bytes.
          this.#inbound.apply(part, part);
          this.onData(part);
        }
      } catch (error) {
        // Thrown out of a listener it would end the process.
        this.abort(error as Error);
      }
    });
  }

  override sendData(data: Uint8ArrayList): SendResult {
    const { byteLength } = data;
    if (this.#isOver) return { sentBytes: byteLength, canSendMore: true };
    const sealed = Buffer.allocUnsafe(byteLength);
    let at = 0;
    for (const part of data) {
      this.#outbound.apply(part, sealed.subarray(at, at + part.length));
      at += part.length;
    }
    return { sentBytes: byteLength, canSendMore: this.#inner.send(sealed) };
  }

  override async sendClose(options?: AbortOptions): Promise<void> {
    await this.#inner.close(options);
  }

  override sendReset(error: Error): void {
    this.#inner.abort(error);
  }

  override sendPause(): void {
    this.#inner.pause();
  }

  override sendResume(): void {
    this.#inner.resume();
  }

  #release(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#inbound.end();
    this.#outbound.end();
  }
}
