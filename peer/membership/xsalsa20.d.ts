declare module 'xsalsa20' {
  namespace xsalsa20 {
    interface Cipher {
      /** Encrypts and decrypts alike; the key stream goes on where it ended. */
      update(input: Uint8Array, output: Uint8Array): Uint8Array;
      /** Gives its memory back; it cannot be used afterwards. */
      finalize(): void;
    }
  }
  function xsalsa20(nonce: Uint8Array, key: Uint8Array): xsalsa20.Cipher;
  export = xsalsa20;
}
