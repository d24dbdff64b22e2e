import xsalsa20 from 'xsalsa20';

/**
 * All ciphers of a process share one memory, of which ten pages are there from the start. Whoever needs more makes it grow, which
 * leaves every other cipher with a view of memory that is gone: it grows again, past all bounds in the end, or fails when it is
 * ended. With texts of at most this length it never grows.
 */
const MAX_TEXT_BYTES = 64 * 1024;

/** XSalsa20 as a stream: encrypts and decrypts alike, and goes on where it ended. */
export class Cipher {
  #cipher: xsalsa20.Cipher | undefined;

  constructor(nonce: Uint8Array, secret: Uint8Array) {
    this.#cipher = xsalsa20(nonce, secret);
  }

  /** Puts as many bytes as `text` has into `into`, which may be `text` itself. After the end it does nothing. */
  apply(text: Uint8Array, into: Uint8Array): void {
    for (let at = 0; at < text.length; at += MAX_TEXT_BYTES) {
      const end = at + MAX_TEXT_BYTES;
      this.#cipher?.update(text.subarray(at, end), into.subarray(at, end));
    }
  }

  /** Its memory lies outside the heap, and nothing but this gives it back. */
  end(): void {
    this.#cipher?.finalize();
    this.#cipher = undefined;
  }
}
