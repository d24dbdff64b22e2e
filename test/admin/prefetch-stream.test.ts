import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { type AdminPorts, adminApp } from '../../src/admin/admin-server.ts';
import { asLines } from '../../src/admin/event-lines.ts';
import { listenAll } from '../../src/admin/http-server.ts';
import type { PrefetchEvent } from '../../src/admin/prefetch-events.ts';
import { DamselflyError } from '../../src/errors.ts';
import { eventually } from '../support/eventually.ts';
import { doneEvent, linesOf, makePorts } from './support.ts';

async function startNode(t: TestContext, prefetchImage: AdminPorts['prefetchImage']) {
  const jobs = { running: 0 };
  const ports = makePorts({ prefetchImage });
  const listening = await listenAll(
    () => adminApp(ports, jobs),
    [{ kind: 'tcp', host: '127.0.0.1', port: 0 }],
    'admin.listen',
    200,
  );
  t.after(() => listening.close());
  return { jobs, listening, port: Number(listening.listened[0]?.split(':')[1]) };
}

async function post(port: number): Promise<{ sent: ClientRequest; answer: IncomingMessage }> {
  const sent = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: '/api/v1/prefetch',
    headers: { 'content-type': 'application/json' },
    agent: false,
  });
  sent.end(JSON.stringify({ reference: 'alpine' }));
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return { sent, answer };
}

/** A job that goes on until it is told to stop, and tells why it did. */
function endless(): { job: AdminPorts['prefetchImage']; ended: Promise<unknown> } {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  return {
    ended: promise,
    job: async function* ({ reference }, signal) {
      await new Promise((settle) => signal.addEventListener('abort', settle, { once: true }));
      resolve(signal.reason);
      yield {
        ...doneEvent(reference),
        event: 'failed',
        code: signal.reason instanceof DamselflyError ? signal.reason.code : 'internal',
        message: 'stopped',
      } as PrefetchEvent;
    },
  };
}

test('the head is out before the first event', { timeout: 10_000 }, async (t) => {
  const { job } = endless();
  const { jobs, port } = await startNode(t, job);
  const { sent, answer } = await post(port);
  assert.equal(answer.statusCode, 200);
  assert.equal(jobs.running, 1);
  sent.destroy();
});

test('a client that hangs up ends the job and frees its slot', { timeout: 10_000 }, async (t) => {
  const { job, ended } = endless();
  const { jobs, port } = await startNode(t, job);
  const { sent, answer } = await post(port);
  answer.on('error', () => undefined);
  sent.destroy();
  assert.equal(((await ended) as Error).name, 'AbortError');
  await eventually(() => jobs.running === 0);
});

test('a stop ends the jobs with shutting-down, and their streams cleanly', { timeout: 10_000 }, async (t) => {
  const { job, ended } = endless();
  const { listening, port } = await startNode(t, job);
  const { answer } = await post(port);
  const body = answer.setEncoding('utf8').toArray();
  await listening.close();
  assert.equal(((await ended) as DamselflyError).code, 'shutting-down');
  const [last] = linesOf((await body).join(''));
  assert.equal(last?.event === 'failed' && last.code, 'shutting-down');
});

test('a stop does not wait for a job that does not end', { timeout: 10_000 }, async (t) => {
  const never = Promise.withResolvers<void>();
  t.after(() => never.resolve());
  const { listening, port } = await startNode(t, async function* ({ reference }) {
    await never.promise;
    yield doneEvent(reference);
  });
  const { answer } = await post(port);
  const cut = once(answer, 'error');
  answer.resume();
  await listening.close();
  await cut;
});

test('lines: one empty at once, one per beat of silence, one per event; leaving ends the events', async () => {
  const first = Promise.withResolvers<void>();
  let left = false;
  async function* events(): AsyncGenerator<PrefetchEvent> {
    try {
      await first.promise;
      yield doneEvent('a');
      yield doneEvent('b');
    } finally {
      left = true;
    }
  }
  const lines = asLines(events(), 1);
  assert.equal((await lines.next()).value, '\n');
  assert.equal((await lines.next()).value, '\n');
  assert.equal((await lines.next()).value, '\n');
  first.resolve();
  let line = (await lines.next()).value;
  while (line === '\n') line = (await lines.next()).value;
  assert.equal(JSON.parse(line ?? '').reference, 'a');
  await lines.return(undefined);
  assert.equal(left, true);
});
