import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../src/commands/failure.ts';
import { parseTarget, withoutSecrets } from '../../src/commands/get/target.ts';
import { parseHeaders, takeUserInfo } from '../../src/commands/get/user-headers.ts';
import { parseRange } from '../../src/commands/get/wanted-range.ts';
import { formatBytes, formatRate, formatSeconds, formatShare } from '../../src/commands/quantity.ts';
import { RateMeter } from '../../src/commands/rate-meter.ts';
import { hasCode } from '../../src/errors.ts';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

test('quantities as people read them', () => {
  assert.deepEqual([0, 1, 1023, 1024, 1536, 1048524, 1048575, 2 ** 30].map(formatBytes), [
    '0 B',
    '1 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1023.9 KiB',
    '1.0 MiB',
    '1.0 GiB',
  ]);
  assert.equal(formatRate(2048), '2.0 KiB/s');
  assert.deepEqual([0, 0.44, 9.96, 59, 60, 3599, 3600, 90_000].map(formatSeconds), [
    '0.0 s',
    '0.4 s',
    '10 s',
    '59 s',
    '1 min 0 s',
    '59 min 59 s',
    '1 h 0 min',
    '1 d 1 h',
  ]);
  assert.deepEqual([formatShare(1, 3), formatShare(999, 1000), formatShare(0, 0)], ['33 %', '99 %', '0 %']);
});

test('a rate is that of the last seconds', () => {
  let nowMs = 0;
  const meter = new RateMeter(0, () => nowMs);
  assert.equal(meter.bytesPerSecond, 0);
  for (let i = 1; i <= 100; i++) {
    nowMs += 100;
    meter.update(i * 1000);
  }
  assert.equal(meter.bytesPerSecond, 10_000);
  for (let i = 0; i < 100; i++) {
    nowMs += 100;
    meter.update(100_000);
  }
  assert.equal(meter.bytesPerSecond, 0, 'a stall shows');
});

test('ranges', () => {
  assert.deepEqual(parseRange('0-0'), { start: 0, end: 1 });
  assert.deepEqual(parseRange('5-9'), { start: 5, end: 10 });
  assert.deepEqual(parseRange('5-'), { start: 5, end: Number.POSITIVE_INFINITY });
  assert.deepEqual(parseRange('-5'), { last: 5 });
  for (const bad of ['', '-', '5', '9-5', 'a-b', '-0', '1-2,3-4', '1.5-2', '99999999999999999-'])
    assert.throws(() => parseRange(bad), UsageError, bad);
});

test('what a URL or reference means', () => {
  assert.deepEqual(parseTarget(`http://H:5000/v2/a/b/blobs/${DIGEST}?x=1`), {
    kind: 'registry',
    origin: 'http://h:5000',
    repository: 'a/b',
    path: `/v2/a/b/blobs/${DIGEST}?x=1`,
    digest: DIGEST,
  });
  const tag = parseTarget('https://h/v2/a/manifests/latest');
  assert.equal(tag.kind === 'registry' && tag.digest, undefined);
  assert.equal(parseTarget('https://h/some/file').kind, 'object');
  assert.deepEqual(parseTarget(`oci://h:5000/a/b:1.0@${DIGEST}`), {
    kind: 'image',
    host: 'h:5000',
    repository: 'a/b',
    reference: DIGEST,
  });
  assert.deepEqual(parseTarget('oci://docker.io/alpine'), {
    kind: 'image',
    host: 'docker.io',
    repository: 'library/alpine',
    reference: 'latest',
  });
  for (const bad of [
    '',
    'x',
    's3://b/k',
    'http://',
    'https://h/v2/a/blobs/latest',
    'oci://h/UPPER',
    'oci://h/a@sha256:1',
  ])
    assert.throws(
      () => parseTarget(bad),
      (error) => hasCode(error, 'reference-malformed'),
      bad,
    );
  assert.equal(withoutSecrets('https://u:p@h/x?sig=1#f'), 'https://h/x');
});

test('header lines: credentials are told apart, and what is malformed is not repeated', () => {
  assert.deepEqual(parseHeaders(['Authorization: Bearer x', 'X-A:  b ', 'cookie: c=1']), {
    credential: ['Authorization', 'Bearer x', 'cookie', 'c=1'],
    common: ['X-A', 'b'],
  });
  for (const bad of [
    'hunter2',
    ': hunter2',
    'A B: hunter2',
    'X: hunter2\r\nY: z',
    'Host: hunter2',
    'If-Range: hunter2',
  ])
    assert.throws(
      () => parseHeaders([bad]),
      (error) => error instanceof UsageError && !error.message.includes('hunter2'),
    );
  const url = new URL('http://me:p%40ss@h/x');
  assert.deepEqual(takeUserInfo(url), [
    'Authorization',
    `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
  ]);
  assert.equal(url.href, 'http://h/x');
});
