import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils';
import fc from 'fast-check';
import { makeCertificate } from '../../../peer/identity/certificate.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { ED25519_KEY_PREFIX } from '../../../peer/identity/libp2p-extension.ts';
import { publicKeyOf } from '../../../peer/identity/peer-id.ts';
import { verifyCertificate } from '../../../peer/identity/verify-certificate.ts';
import { hasCode } from '../../../src/errors.ts';
import { derOfPem, type Flaw, flawedCertificate } from '../../support/peer/certificates.ts';

const refused = (error: unknown): boolean => hasCode(error, 'peer-refused');
const now = Date.now();

describe('a peer-id certificate', () => {
  it('names the node that made it', async () => {
    const identity = Identity.generate();
    const { cert } = await makeCertificate(identity);
    assert.equal(verifyCertificate(derOfPem(cert), now), identity.id);
  });

  it("of ours is right for libp2p, and libp2p's for us", async () => {
    const identity = Identity.generate();
    const ours = derOfPem((await makeCertificate(identity)).cert);
    assert.equal((await verifyPeerCertificate(ours)).toString(), identity.id);

    const key = identity.libp2pKey();
    const theirs = derOfPem((await generateCertificate(privateKeyFromRaw(key.raw))).cert);
    assert.equal(verifyCertificate(theirs, now), identity.id);
  });

  it('of ours is right for a clock that is years off', async () => {
    const der = derOfPem((await makeCertificate(Identity.generate())).cert);
    for (const date of ['2021-01-01', '2119-01-01']) verifyCertificate(der, Date.parse(date));
  });

  it('may have its extension marked as not critical', async () => {
    const identity = Identity.generate();
    const { der } = await flawedCertificate(identity, { extension: 'not critical' });
    assert.equal(verifyCertificate(der, now), identity.id);
  });
});

describe('refused is a certificate', () => {
  const flaws: readonly (readonly [string, Flaw])[] = [
    ['that has expired', { to: new Date(now - 1000) }],
    ['that is not valid yet', { from: new Date(now + 60_000) }],
    ["whose key the node's key has not signed", { signature: Buffer.alloc(64, 7) }],
    ['whose signature has another length', { signature: Buffer.alloc(63, 7) }],
    ['whose self-signature is wrong', { wrongSelfSignature: true }],
    ['that another one has issued: a chain of two', { issuedByOther: true }],
    ['without the libp2p extension', { extension: 'absent' }],
    ['with another extension in its place', { extension: 'other' }],
    ['with the extension twice', { extension: 'twice' }],
    ['of an RSA key', { certificateKey: 'rsa' }],
    [
      'that names a secp256k1 key',
      { keyField: Buffer.concat([Buffer.from('08021221', 'hex'), Buffer.alloc(33, 2)]) },
    ],
    ['that names a key of no length', { keyField: ED25519_KEY_PREFIX }],
    [
      'that names a key with bytes behind it',
      { keyField: Buffer.concat([ED25519_KEY_PREFIX, Buffer.alloc(33, 2)]) },
    ],
  ];
  for (const [what, flaw] of flaws) {
    it(what, async () => {
      const { der } = await flawedCertificate(Identity.generate(), flaw);
      assert.throws(() => verifyCertificate(der, now), refused);
    });
  }

  it('that names a key which another node holds', async () => {
    const victim = Identity.generate();
    const keyField = Buffer.concat([ED25519_KEY_PREFIX, publicKeyOf(victim.id) ?? Buffer.alloc(0)]);
    const { der } = await flawedCertificate(Identity.generate(), { keyField });
    assert.throws(() => verifyCertificate(der, now), refused);
  });

  it('that is absent, empty, too large or followed by something', async () => {
    const { der } = await flawedCertificate(Identity.generate());
    for (const bytes of [
      undefined,
      Buffer.alloc(0),
      Buffer.alloc(5000),
      Buffer.concat([der, der]),
      Buffer.from('x'),
    ])
      assert.throws(() => verifyCertificate(bytes, now), refused);
  });

  it('with any one bit turned', async () => {
    const { der } = await flawedCertificate(Identity.generate());
    fc.assert(
      fc.property(fc.nat(der.length * 8 - 1), (bit) => {
        const tampered = Buffer.from(der);
        tampered[bit >> 3] = (tampered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.throws(() => verifyCertificate(tampered, now), refused);
      }),
      { numRuns: 300 },
    );
  });

  it('that is any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        assert.throws(() => verifyCertificate(Buffer.from(bytes), now), refused);
      }),
    );
  });
});
