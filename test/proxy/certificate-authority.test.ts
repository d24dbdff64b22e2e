import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { describe, it } from 'node:test';
import { DamselflyError } from '../../src/errors.ts';
import { CertificateAuthority } from '../../src/proxy/certificate-authority.ts';
import { makeAuthority } from '../support/authority.ts';

const HOUR_MS = 3_600_000;

describe('a leaf', () => {
  for (const key of ['P-256', 'P-384', 'Ed25519', 'RSA'] as const) {
    it(`is signed by an authority with a key of ${key}, for one host, as a server, for two days`, async () => {
      const files = await makeAuthority({ key });
      const authority = await CertificateAuthority.load(files);
      const leaf = await authority.leaf('registry.example');
      const certificate = new X509Certificate(leaf.cert);
      const issuer = new X509Certificate(files.cert);
      assert.ok(certificate.verify(issuer.publicKey), 'the signature');
      assert.ok(certificate.checkIssued(issuer), 'the issuer, byte for byte');
      assert.equal(certificate.ca, false);
      assert.equal(certificate.subjectAltName, 'DNS:registry.example');
      assert.deepEqual(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1']);
      assert.ok(certificate.checkPrivateKey(createPrivateKey(leaf.key)));
      assert.notEqual(leaf.key, files.key, 'the key of the authority is not given away');
      const days = (certificate.validToDate.getTime() - Date.now()) / (24 * HOUR_MS);
      assert.ok(days > 1 && days <= 2.01, `${days} days`);
      assert.ok(certificate.validFromDate.getTime() <= Date.now() - HOUR_MS / 2, 'clocks behind');
      assert.ok(leaf.cert.includes(files.cert.trim()), 'the chain');
    });
  }

  it('names addresses as addresses, and long names whole', async () => {
    const authority = await CertificateAuthority.load(await makeAuthority());
    const six = new X509Certificate((await authority.leaf('fd00::1')).cert);
    assert.equal(six.subjectAltName, 'IP Address:FD00:0:0:0:0:0:0:1');
    const four = new X509Certificate((await authority.leaf('10.0.0.5')).cert);
    assert.equal(four.checkIP('10.0.0.5'), '10.0.0.5');
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`;
    assert.equal(new X509Certificate((await authority.leaf(long)).cert).checkHost(long), long);
  });

  it('does not outlive its authority, and has a serial of its own', async () => {
    const files = await makeAuthority({ toDays: 0.5 });
    const authority = await CertificateAuthority.load(files);
    const [one, two] = await Promise.all([authority.leaf('a'), authority.leaf('a')]);
    const [first, second] = [new X509Certificate(one.cert), new X509Certificate(two.cert)];
    assert.equal(first.validTo, new X509Certificate(files.cert).validTo);
    assert.notEqual(first.serialNumber, second.serialNumber);
  });
});

describe('refused at start, naming the key', () => {
  const cases: [name: string, key: RegExp, make: () => Promise<{ cert: string; key: string }>][] = [
    ['no CA', /caCertFile.*not the certificate of a CA/, () => makeAuthority({ isAuthority: false })],
    ['expired', /caCertFile.*expired/, () => makeAuthority({ fromDays: -5, toDays: -1 })],
    ['not valid yet', /caCertFile.*not valid before/, () => makeAuthority({ fromDays: 1 })],
    ['may not sign', /caCertFile.*not the certificate of a CA/, () => makeAuthority({ usages: 1 })],
    [
      "another's key",
      /caKeyFile.*not the key of/,
      async () => ({ cert: (await makeAuthority()).cert, key: (await makeAuthority()).key }),
    ],
    ['no certificate', /caCertFile.*no PEM cert/, async () => ({ ...(await makeAuthority()), cert: 'x' })],
    ['no key', /caKeyFile.*no PEM private/, async () => ({ ...(await makeAuthority()), key: 'x' })],
  ];
  for (const [name, message, make] of cases) {
    it(name, async () => {
      await assert.rejects(CertificateAuthority.load(await make()), (error) => {
        assert.ok(error instanceof DamselflyError && error.code === 'config-invalid');
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('and an authority without a key usage may sign', async () => {
    await CertificateAuthority.load(await makeAuthority({ usages: null }));
  });
});
