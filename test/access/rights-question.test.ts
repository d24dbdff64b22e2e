import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeCredentials as NodeCredentialsPort } from '../../src/access/access-gate.ts';
import { askOrigin, type OriginAnswer, type RightsOrigin } from '../../src/access/rights-question.ts';
import { OriginRefusal } from '../../src/errors.ts';
import type { NodeCredentials } from '../../src/origin/node-credentials.ts';
import type { OriginClient } from '../../src/origin/origin-client.ts';
import { answerOf, digestNamed, upstreamOf } from './support.ts';

// The parts that daemon.ts hands in fit the ports: checked by the compiler.
type Fits<Part extends Port, Port> = Part;
export type Checked = [Fits<OriginClient, RightsOrigin>, Fits<NodeCredentials, NodeCredentialsPort>];

function ask(answer: OriginAnswer) {
  const origin: RightsOrigin = { head: async () => answer };
  return askOrigin(origin, upstreamOf('alice'), digestNamed('layer'), new AbortController().signal);
}

test('a 200 tells the size and the media type', async () => {
  const facts = await ask(answerOf(200, ['content-length', '42', 'content-type', 'application/x']));
  assert.deepEqual(facts, { size: 42, mediaType: 'application/x' });
});

test('a 206, where HEAD is refused, tells the size by its Content-Range', async () => {
  const facts = await ask(answerOf(206, ['Content-Range', 'bytes 0-0/4711', 'Content-Length', '1']));
  assert.deepEqual(facts, { size: 4711, mediaType: undefined });
});

test('a redirect tells nothing of the blob', async () => {
  const lines = [
    'Location',
    'https://cdn.example.com/',
    'Content-Length',
    '178',
    'Content-Type',
    'text/html',
  ];
  assert.deepEqual(await ask(answerOf(307, lines)), {});
});

for (const [what, lines] of [
  ['missing', []],
  ['coded', ['content-length', '42', 'content-encoding', 'gzip']],
  ['no number', ['content-length', '4e2']],
  ['negative', ['content-length', '-1']],
  ['longer than a number holds', ['content-length', '9'.repeat(20)]],
] as const) {
  test(`a length that is ${what} is no size`, async () => {
    assert.equal((await ask(answerOf(200, lines))).size, undefined);
  });
}

test('an unknown total is no size', async () => {
  assert.equal((await ask(answerOf(206, ['content-range', 'bytes 0-0/*']))).size, undefined);
});

test('a refusal keeps every line and the body', async () => {
  const body = Buffer.from('{"errors":[]}');
  const lines = ['WWW-Authenticate', 'Basic realm="x"', 'www-authenticate', 'Bearer realm="y"'];
  await assert.rejects(ask({ ...answerOf(401, lines), body }), (error) => {
    assert.ok(error instanceof OriginRefusal);
    assert.equal(error.status, 401);
    assert.deepEqual(error.rawHeaders, lines);
    assert.equal(error.body, body);
    return true;
  });
});
