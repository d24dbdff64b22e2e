import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { RequesterHash } from '../../src/access/requester-hash.ts';

const key = Buffer.alloc(32, 7);

test('is the HMAC-SHA256 of origin, repository and credential, warm and cold', () => {
  const hash = new RequesterHash(key);
  const expected = createHmac('sha256', key).update('https://o\nr/a\nsecret').digest('base64url');
  assert.equal(hash.of('https://o', 'r/a', 'secret'), expected);
  assert.equal(hash.of('https://o', 'r/a', 'secret'), expected);
  hash.clear();
  assert.equal(hash.of('https://o', 'r/a', 'secret'), expected);
  hash.clear();
});

test('differs with each part and with the key', () => {
  const hash = new RequesterHash(key);
  const hashes = [
    hash.of('https://o', 'r/a', 's'),
    hash.of('https://p', 'r/a', 's'),
    hash.of('https://o', 'r/b', 's'),
    hash.of('https://o', 'r/a', 't'),
    new RequesterHash(Buffer.alloc(32, 8)).of('https://o', 'r/a', 's'),
  ];
  assert.equal(new Set(hashes).size, hashes.length);
  hash.clear();
});
