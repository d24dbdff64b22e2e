import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metrics } from '../../src/observe/metrics.ts';

test('every labelled series stands at zero from the start', async () => {
  const text = await new Metrics().registry.metrics();
  for (const line of [
    'dragonfly_client_download_traffic{type="BACK_TO_SOURCE"} 0',
    'dragonfly_client_proxy_request_total 0',
    'damselfly_requests_total{client="nydusd",result="ok"} 0',
    'damselfly_served_bytes_total{source="disk"} 0',
    'damselfly_received_bytes_total{source="origin"} 0',
    'damselfly_rights_checks_total{outcome="grace"} 0',
    'damselfly_read_amplification_ratio 0',
  ]) {
    assert.ok(text.split('\n').includes(line), line);
  }
});

test('totals sum what was counted, over all clients', async () => {
  const metrics = new Metrics();
  metrics.traffic.served('memory', 10);
  metrics.traffic.served('disk', 20);
  metrics.traffic.served('origin', 30);
  metrics.traffic.received('origin', 40);
  metrics.traffic.received('dragonfly', 5);
  metrics.requested.inc({ client: 'nydusd' }, 55);
  metrics.requested.inc({ client: 'containerd' }, 5);
  metrics.countRequest('nydusd', 'ok', true);
  metrics.countRequest('containerd', 'ok', true);
  metrics.countRequest('containerd', 'failed', false);
  metrics.originOpen.inc(3);
  metrics.originQueued.inc(2);
  assert.deepEqual(await metrics.totals(), {
    servedBytes: { memory: 10, disk: 20, peer: 0, dragonfly: 0, origin: 30 },
    receivedBytes: { peer: 0, dragonfly: 5, origin: 40 },
    requestedBytes: 60,
    originBytes: 40,
    requests: { ok: 2, refused: 0, failed: 1, aborted: 0, total: 3 },
    originRequests: { open: 3, queued: 2 },
  });
});

test('read amplification is computed when it is scraped', async () => {
  const metrics = new Metrics();
  metrics.requested.inc({ client: 'nydusd' }, 200);
  metrics.traffic.received('origin', 50);
  assert.match(await metrics.registry.metrics(), /^damselfly_read_amplification_ratio 0\.25$/m);
});
