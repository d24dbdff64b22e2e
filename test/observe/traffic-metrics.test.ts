import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { Series } from '../../src/observe/series.ts';
import { TrafficMetrics } from '../../src/observe/traffic-metrics.ts';

test("Dragonfly's traffic words: near sources are local, members remote, the origin back to source", async () => {
  const registry = new Registry();
  const traffic = new TrafficMetrics(new Series(registry));
  traffic.served('memory', 1);
  traffic.served('disk', 2);
  traffic.served('origin', 4);
  traffic.received('peer', 8);
  traffic.received('origin', 16);
  const text = await registry.metrics();
  assert.match(text, /^dragonfly_client_download_traffic\{type="LOCAL_PEER"\} 3$/m);
  assert.match(text, /^dragonfly_client_download_traffic\{type="REMOTE_PEER"\} 8$/m);
  assert.match(text, /^dragonfly_client_download_traffic\{type="BACK_TO_SOURCE"\} 16$/m);
});

test('bytes for clients and bytes from outside are summed apart, and only those of the origin are egress', async () => {
  const traffic = new TrafficMetrics(new Series(new Registry()));
  traffic.served('disk', 1);
  traffic.served('disk', 2);
  traffic.received('peer', 4);
  traffic.received('origin', 8);
  assert.deepEqual(await traffic.totals(), {
    servedBytes: { memory: 0, disk: 3, peer: 0, dragonfly: 0, origin: 0 },
    receivedBytes: { peer: 4, dragonfly: 0, origin: 8 },
    originBytes: 8,
  });
});
