import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Cipher } from '../../../peer/membership/cipher.ts';

const NONCE_BYTES = 24;
const SECRET_BYTES = 32;
/** More than the memory that all ciphers share has from the start. */
const LONG_BYTES = 3 * 1024 * 1024;

function pair(): [there: Cipher, back: Cipher] {
  const [nonce, secret] = [randomBytes(NONCE_BYTES), randomBytes(SECRET_BYTES)];
  return [new Cipher(nonce, secret), new Cipher(nonce, secret)];
}

describe('the cipher of the private network', () => {
  it('gives back what went in, however it is cut on either side', () => {
    const lengths = fc.array(fc.oneof(fc.nat({ max: 200 }), fc.nat({ max: 200_000 })), { maxLength: 8 });
    fc.assert(
      fc.property(lengths, lengths, (cuts, others) => {
        const [there, back] = pair();
        const text = randomBytes(cuts.reduce((sum, length) => sum + length, 0));
        const sealed = Buffer.alloc(text.length);
        let at = 0;
        for (const length of cuts) {
          there.apply(text.subarray(at, at + length), sealed.subarray(at, at + length));
          at += length;
        }
        if (text.length > 64) assert.ok(!sealed.equals(text));
        at = 0;
        for (const length of [...others, sealed.length]) {
          const part = sealed.subarray(at, at + length);
          back.apply(part, part);
          at += part.length;
        }
        assert.ok(sealed.equals(text));
        there.end();
        back.end();
      }),
      { numRuns: 40 },
    );
  });

  it('lets no long text of one cipher spoil another, or the memory of all', () => {
    const ciphers = [...pair(), ...pair()];
    const [first] = ciphers;
    const text = Buffer.alloc(LONG_BYTES);
    const before = process.memoryUsage().external;
    // What once grew the memory for each of them made the others grow it again, up to the bound of 4 GiB.
    for (let round = 0; round < 40; round += 1) for (const cipher of ciphers) cipher.apply(text, text);
    assert.ok(process.memoryUsage().external - before < 10 * LONG_BYTES);
    first?.apply(text, text);
    for (const cipher of ciphers) cipher.end();
    for (const cipher of ciphers) cipher.end();
  });
});
