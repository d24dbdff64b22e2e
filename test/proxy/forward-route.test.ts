import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import type { OriginId } from '../../src/blob/upstream.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { RecentErrors } from '../../src/observe/recent-errors.ts';
import type { ForwardAnswer, ForwardOptions } from '../../src/origin/origin-client.ts';
import { Call } from '../../src/proxy/call.ts';
import { ForwardRoute } from '../../src/proxy/forward-route.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { listening } from '../support/listening.ts';

/** A server that passes everything on to an origin of the test's own. */
async function forwarding(
  t: TestContext,
  answer: (options: ForwardOptions) => Promise<ForwardAnswer>,
  clientIdleMs?: number,
) {
  const metrics = new Metrics();
  const parts = { log: silentLogger, metrics, recentErrors: new RecentErrors() };
  const origin = { forward: answer, forwardUrl: answer };
  const route = new ForwardRoute({
    origin,
    metrics,
    ...(clientIdleMs === undefined ? {} : { clientIdleMs }),
  });
  const target = { origin: 'http://o' as OriginId, target: '/x', absolute: false, namespace: undefined };
  const handled: Promise<void>[] = [];
  const server = await listening(
    createServer((request, response) => {
      const call = new Call(request, response, parts);
      handled.push(route.handle(call, target).catch((error: unknown) => call.fail(error)));
    }),
  );
  t.after(() => server.close());
  return { server, metrics, handled };
}

const headOf = (rawHeaders: string[], body: Readable): ForwardAnswer => ({
  status: 200,
  rawHeaders,
  header: () => undefined,
  body,
});

test('a client that takes nothing of a long answer gives its slot at the origin back in time', async (t) => {
  const body = new Readable({ read: () => body.push(Buffer.alloc(64 << 10)) });
  const { server, metrics, handled } = await forwarding(t, async () => headOf([], body), 150);
  const socket = connect(server.port, '127.0.0.1');
  socket.pause();
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  socket.write('GET /x HTTP/1.1\r\nHost: h\r\n\r\n');
  await eventually(() => body.destroyed);
  await Promise.all(handled);
  await eventually(async () =>
    /^damselfly_requests_total\{client="none",result="aborted"\} 1$/m.test(await metrics.registry.metrics()),
  );
});

test('a client that reads slowly is not cut', async (t) => {
  let left = 6;
  const body = new Readable({
    read: () => void setTimeout(() => body.push(left-- > 0 ? Buffer.from('drop') : null), 60),
  });
  const { server } = await forwarding(t, async () => headOf(['Content-Length', '24'], body), 150);
  const answer = await httpGet(`${server.url}/x`);
  assert.equal(answer.complete, true);
  assert.equal(answer.body.toString(), 'drop'.repeat(6));
});

test('an answer without a head is a 504 after 25 s, whatever the origin module is at', async (t) => {
  const asked = Promise.withResolvers<void>();
  const { server } = await forwarding(t, ({ signal }) => {
    asked.resolve();
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const asking = httpGet(`${server.url}/x`, { timeoutMs: 30_000 });
  await asked.promise;
  t.mock.timers.tick(25_000);
  const answer = await asking;
  assert.equal(answer.status, 504);
});
