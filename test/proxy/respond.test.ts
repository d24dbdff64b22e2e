import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import { describe, it, type TestContext } from 'node:test';
import { DamselflyError, OriginRefusal } from '../../src/errors.ts';
import { respondError, respondRefusal } from '../../src/proxy/respond.ts';
import { httpGet } from '../support/http-get.ts';
import { type Listening, listening } from '../support/listening.ts';

async function serve(t: TestContext, answer: (response: ServerResponse) => void): Promise<Listening> {
  const server = await listening(createServer((_, response) => answer(response)));
  t.after(server.close);
  return server;
}

describe('respondError', () => {
  it('answers with the status of the code and a body in the registry format', async (t) => {
    const error = new DamselflyError('origin-unreachable', 'The origin is not there: start it');
    const server = await serve(t, (response) => respondError(response, error));
    const answer = await httpGet(server.url);
    assert.equal(answer.status, 502);
    assert.deepEqual(answer.json(), { errors: [{ code: error.code, message: error.message }] });
    assert.equal(answer.header('x-dragonfly-error-type'), undefined);
    const head = await httpGet(server.url, { method: 'HEAD' });
    assert.equal(head.status, 502);
    assert.equal(head.complete, true);
  });

  it('marks our own 403 as such', async (t) => {
    const error = new DamselflyError('target-forbidden', 'A loopback address');
    const server = await serve(t, (response) => respondError(response, error));
    const answer = await httpGet(server.url);
    assert.equal(answer.status, 403);
    assert.equal(answer.header('x-dragonfly-error-type'), 'proxy');
  });

  it('resets when the head has left', async (t) => {
    const server = await serve(t, (response) => {
      response.writeHead(200, ['Content-Length', '10']);
      response.write('12345', () => respondError(response, new DamselflyError('internal', 'x')));
    });
    const answer = await httpGet(server.url);
    assert.equal(answer.complete, false);
    assert.equal(answer.failure, 'ECONNRESET');
  });
});

describe('respondRefusal', () => {
  const challenge = 'Bearer realm="https://a.example/token?x=y",service="s", scope="repository:a/b:pull"';
  const raw = [
    'content-TYPE',
    'application/json',
    'Www-authenticate',
    challenge,
    'WWW-Authenticate',
    'Basic realm=x',
    'Connection',
    'X-Hop',
    'X-Hop',
    'gone',
    'Keep-Alive',
    'timeout=1',
    'Content-Length',
    '99999',
    'Date',
    'Wed, 21 Oct 2015 07:28:00 GMT',
  ];
  const relayed = [
    'content-TYPE',
    'application/json',
    'Www-authenticate',
    challenge,
    'WWW-Authenticate',
    'Basic realm=x',
    'Date',
    'Wed, 21 Oct 2015 07:28:00 GMT',
  ];

  it('passes status, lines and body on in their order and spelling, with the true length', async (t) => {
    const body = Buffer.from('{"errors":[]}');
    const server = await serve(t, (response) => respondRefusal(response, new OriginRefusal(401, raw, body)));
    const answer = await httpGet(server.url);
    assert.equal(answer.status, 401);
    assert.deepEqual(answer.rawHeaders.slice(0, 10), [...relayed, 'Content-Length', String(body.length)]);
    assert.ok(answer.body.equals(body));
    assert.equal(answer.header('x-hop'), undefined);
  });

  it('keeps the length that the origin gave for a HEAD', async (t) => {
    const refusal = new OriginRefusal(404, ['Content-Length', '157', 'X-A', 'b'], new Uint8Array(0));
    const server = await serve(t, (response) => respondRefusal(response, refusal));
    const answer = await httpGet(server.url, { method: 'HEAD' });
    assert.equal(answer.status, 404);
    assert.equal(answer.header('content-length'), '157');
    assert.equal(answer.complete, true);
  });

  it('does not announce to a GET a body that was only asked for by a HEAD', async (t) => {
    const refusal = new OriginRefusal(
      403,
      ['Content-Length', '157', 'Content-Encoding', 'gzip'],
      new Uint8Array(0),
    );
    const server = await serve(t, (response) => respondRefusal(response, refusal));
    const answer = await httpGet(server.url);
    assert.equal(answer.header('content-length'), '0');
    assert.equal(answer.header('content-encoding'), undefined);
    assert.equal(answer.complete, true);
  });
});
