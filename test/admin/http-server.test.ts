import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { listenAll } from '../../src/admin/http-server.ts';
import { metricsApp } from '../../src/admin/metrics-server.ts';
import { DamselflyError } from '../../src/errors.ts';
import { Metrics } from '../../src/observe/metrics.ts';

const LOOPBACK = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;

function portOf(text: string | undefined): number {
  return Number(text?.split(':').at(-1));
}

test('GET /metrics on every address, port 0 resolved', async () => {
  const metrics = new Metrics();
  metrics.traffic.served('disk', 5);
  const listening = await listenAll(
    () => metricsApp(metrics.registry),
    [LOOPBACK, LOOPBACK],
    'metrics.listen',
  );
  try {
    assert.equal(listening.listened.length, 2);
    assert.equal(new Set(listening.listened).size, 2);
    for (const address of listening.listened) {
      assert.notEqual(portOf(address), 0);
      const answer = await fetch(`http://${address}/metrics`);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('content-type'), metrics.registry.contentType);
      assert.match(await answer.text(), /^damselfly_served_bytes_total\{source="disk"\} 5$/m);
      assert.equal((await fetch(`http://${address}/else`)).status, 404);
    }
  } finally {
    await listening.close();
  }
  await assert.rejects(fetch(`http://${listening.listened[0]}/metrics`));
});

test('a taken address is listen-failed with its key and address, and none stays open', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const bound = taken.address();
  assert.ok(bound !== null && typeof bound !== 'string');
  let made = 0;
  const apps: ReturnType<typeof metricsApp>[] = [];
  const create = () => {
    made++;
    const app = metricsApp(new Metrics().registry);
    apps.push(app);
    return app;
  };
  try {
    await assert.rejects(
      listenAll(create, [LOOPBACK, { ...LOOPBACK, port: bound.port }, LOOPBACK], 'metrics.listen'),
      (error) => {
        assert.ok(error instanceof DamselflyError);
        assert.equal(error.code, 'listen-failed');
        assert.match(
          error.message,
          new RegExp(`^metrics\\.listen: cannot listen on 127\\.0\\.0\\.1:${bound.port} `),
        );
        assert.match(error.message, /EADDRINUSE/);
        assert.deepEqual(error.facts, {
          key: 'metrics.listen',
          address: `127.0.0.1:${bound.port}`,
          reason: 'EADDRINUSE',
        });
        return true;
      },
    );
    assert.equal(made, 2);
    for (const app of apps) assert.equal(app.server.listening, false);
  } finally {
    await new Promise((resolve) => taken.close(resolve));
  }
});

test('IPv6 addresses are told in brackets', async (t) => {
  let listening: Awaited<ReturnType<typeof listenAll>>;
  try {
    listening = await listenAll(
      () => metricsApp(new Metrics().registry),
      [{ ...LOOPBACK, host: '::1' }],
      'k',
    );
  } catch {
    t.skip('this host has no IPv6 loopback');
    return;
  }
  assert.match(listening.listened[0] ?? '', /^\[::1\]:\d+$/);
  await listening.close();
});
