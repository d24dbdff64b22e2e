import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  announcesBody,
  asRecord,
  forwardableHeaders,
  headerValue,
  headerValues,
  withoutHopByHop,
} from '../../src/origin/headers.ts';

test('lines are found whatever their case, repeats in order', () => {
  const lines = ['Accept', 'a', 'X-A', '1', 'ACCEPT', 'b'];
  assert.equal(headerValue(lines, 'accept'), 'a');
  assert.deepEqual(headerValues(lines, 'accept'), ['a', 'b']);
  assert.equal(headerValue(lines, 'missing'), undefined);
  assert.deepEqual(headerValues(lines, 'missing'), []);
});

test('hop-by-hop headers stay, also those that Connection names; the rest keeps order, spelling and repeats', () => {
  const lines = [
    'Accept',
    'a',
    'Connection',
    'close, X-Hop',
    'x-hop',
    '1',
    'accept',
    'b',
    'Connection',
    'x-more',
    'X-More',
    '2',
    'TE',
    'trailers',
    'Transfer-Encoding',
    'chunked',
    'Keep-Alive',
    '5',
    'Proxy-Authorization',
    'secret',
    'Proxy-Connection',
    'x',
    'Upgrade',
    'h2c',
    'Trailer',
    'x',
    'Proxy-Authenticate',
    'Basic',
    'ETag',
    '"x"',
  ];
  assert.deepEqual(withoutHopByHop(lines), ['Accept', 'a', 'accept', 'b', 'ETag', '"x"']);
});

test("a client's request loses Host, Expect and Dragonfly's and our own headers, and nothing else", () => {
  const lines = [
    'Host',
    'mirror',
    'X-Dragonfly-Registry',
    'https://x',
    'x-dragonfly-use-p2p',
    'true',
    'X-Damselfly-Source',
    'disk',
    'Expect',
    '100-continue',
    'Authorization',
    'Basic x',
    'Cookie',
    'a=1',
    'Range',
    'bytes=0-1',
    'X-Amz-Date',
    'now',
    'Content-Length',
    '0',
  ];
  assert.deepEqual(forwardableHeaders(lines), [
    'Authorization',
    'Basic x',
    'Cookie',
    'a=1',
    'Range',
    'bytes=0-1',
    'X-Amz-Date',
    'now',
    'Content-Length',
    '0',
  ]);
});

test('as a record, repeats become lists under their first spelling', () => {
  assert.deepEqual(
    { ...asRecord(['Accept', 'a', 'X-B', '1', 'accept', 'b', 'ACCEPT', 'c', '__proto__', 'p']) },
    { Accept: ['a', 'b', 'c'], 'X-B': '1', ['__proto__']: 'p' },
  );
});

test('a body is announced by its length or by chunking', () => {
  assert.equal(announcesBody(['Content-Length', '0']), false);
  assert.equal(announcesBody(['content-length', '7']), true);
  assert.equal(announcesBody(['Transfer-Encoding', 'chunked']), true);
  assert.equal(announcesBody(['Accept', '*/*']), false);
});
