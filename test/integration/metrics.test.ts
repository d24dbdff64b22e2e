import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { Registry } from 'prom-client';
import { SwarmMetrics } from '../../src/observe/swarm-metrics.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import type { TestBlob } from '../support/origin.ts';
import { setup } from './support/setup.ts';

const MIB = 1 << 20;

/** Series that need a fault or a pressure which this file does not make, and the test that moves each. */
const ELSEWHERE: Readonly<Record<string, readonly [file: string, text: string]>> = {
  damselfly_store_declined_total: ['store/faults.test.ts', 'damselfly_store_declined_total'],
  damselfly_store_degraded: ['store/faults.test.ts', 'damselfly_store_degraded'],
  damselfly_store_corrupt_pieces_total: ['store/damage.test.ts', 'damselfly_store_corrupt_pieces_total'],
  damselfly_evicted_segments_total: ['store/eviction.test.ts', 'damselfly_evicted_segments_total'],
  damselfly_evicted_bytes_total: ['store/eviction.test.ts', 'damselfly_evicted_bytes_total'],
  damselfly_tunnels_total: ['integration/connect.test.ts', 'damselfly_tunnels_total'],
  damselfly_tunnels_open: ['integration/connect.test.ts', 'damselfly_tunnels_open'],
  damselfly_tunnel_bytes_total: ['integration/connect.test.ts', 'damselfly_tunnel_bytes_total'],
  damselfly_intercept_handshake_failures_total: [
    'integration/intercept.test.ts',
    'damselfly_intercept_handshake_failures_total',
  ],
  damselfly_origin_requests_queued: ['origin/limiter.test.ts', 'metrics.originQueued'],
};

/** Those of the swarm need other members: test/observe/swarm-metrics.test.ts has who moves each. */
const swarm = new Registry();
new SwarmMetrics(swarm);
const OF_THE_SWARM: ReadonlySet<string> = new Set(swarm.getMetricsAsArray().map(({ name }) => name));

/** Gauges that are down again by the end: the test above it has seen them up. */
const SEEN: ReadonlySet<string> = new Set(['damselfly_origin_requests_open']);

/** One scrape: the sum of a series over the labels that are not given. */
class Scrape {
  readonly #lines: readonly string[];

  constructor(text: string) {
    this.#lines = text.split('\n');
  }

  get names(): string[] {
    return this.#lines.flatMap((line) => /^# TYPE (\S+) /.exec(line)?.[1] ?? []);
  }

  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    let sum = 0;
    for (const line of this.#lines) {
      const [, found, given = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      const isWanted = Object.entries(labels).every(([label, text]) => given.includes(`${label}="${text}"`));
      if (found === name && isWanted) sum += Number(value);
    }
    return sum;
  }

  /** Of a histogram its count. */
  moved(name: string): boolean {
    return this.sum(name) !== 0 || this.sum(`${name}_count`) !== 0;
  }
}

it('every series is registered at start, and moved by what a node does', async (t) => {
  const { origin, node } = await setup(t, { origin: { auth: 'basic', users: { alice: 'x' } } });
  const open = origin.repository('lab/open');
  const secret = origin
    .repository('lab/secret', { readers: ['alice'] })
    .addBlob({ size: 1000, seed: 'secret' });
  let seed = 0;
  const blobOf = (size: number): TestBlob => open.addBlob({ size, seed: `metric ${seed++}` });
  const get = (blob: TestBlob, first?: number, last = first, headers: Record<string, string> = {}) =>
    httpGet(node.url + blob.path, {
      headers: first === undefined ? headers : { Range: `bytes=${first}-${last}`, ...headers },
    });
  const scrape = async (): Promise<Scrape> =>
    new Scrape((await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString());
  /** Until the series, with these labels, is above what it was. */
  const rises = async (name: string, labels: Record<string, string>, work: () => Promise<unknown>) => {
    const before = (await scrape()).sum(name, labels);
    await work();
    await eventually(async () => (await scrape()).sum(name, labels) > before, {
      what: `${name} ${JSON.stringify(labels)}`,
    });
  };
  const atStart = await scrape();

  await t.test('reads: where pieces and bytes come from', async () => {
    const large = blobOf(3 * MIB);
    const pieces = async () => {
      const now = await scrape();
      return ['missing', 'joined', 'disk', 'memory'].map((found) =>
        now.sum('damselfly_pieces_total', { found }),
      );
    };
    assert.deepEqual(await pieces(), [0, 0, 0, 0]);
    assert.equal((await get(large, 0, 2 * MIB - 1)).status, 206);
    assert.deepEqual(await pieces(), [2, 0, 0, 0], 'what a reader brought itself was missing, not joined');
    await rises('dragonfly_client_proxy_request_via_dfdaemon_total', {}, () => get(large, 0, 9));
    // A whole piece, which memory does not take, once it is on the disk.
    const fromDisk = () =>
      eventually(async () => (await get(large, MIB, 2 * MIB - 1)).header('x-damselfly-source') === 'disk');
    await rises('damselfly_pieces_total', { found: 'disk' }, fromDisk);
    await rises('damselfly_served_bytes_total', { source: 'disk' }, fromDisk);
    const small = blobOf(5000);
    assert.equal((await get(small)).status, 200);
    const fromMemory = () =>
      eventually(async () => (await get(small, 0, 9)).header('x-damselfly-source') === 'memory');
    await rises('damselfly_pieces_total', { found: 'memory' }, fromMemory);
    await rises('damselfly_served_bytes_total', { source: 'memory' }, fromMemory);
    await rises('dragonfly_client_download_traffic', { type: 'LOCAL_PEER' }, fromMemory);
    await rises('dragonfly_client_download_traffic', { type: 'BACK_TO_SOURCE' }, () => get(blobOf(5000)));
    const shared = blobOf(MIB);
    const slow = origin.fault({ match: { path: shared.path }, action: { delayHeadMs: 300 } });
    await rises('damselfly_pieces_total', { found: 'joined' }, () =>
      Promise.all([get(shared, 0, 9), get(shared, 20, 29)]),
    );
    slow.remove();
  });

  await t.test('requests: by client and result, with their times', async () => {
    const result = (name: string) => ({ client: 'containerd', result: name });
    const agent = { 'User-Agent': 'containerd/2.0' };
    const blob = blobOf(2 * MIB);
    await rises('damselfly_requests_total', result('ok'), () => get(blob, 0, 9, agent));
    await rises('damselfly_time_to_head_seconds_count', { client: 'containerd' }, () =>
      get(blob, 0, 9, agent),
    );
    await rises('damselfly_requested_bytes_total', { client: 'containerd' }, () => get(blob, 0, 9, agent));
    await rises('damselfly_range_bytes_count', {}, () => get(blob, 0, 9));
    await rises('damselfly_requests_total', result('refused'), () => get(secret, undefined, 0, agent));
    const cut = blobOf(2 * MIB);
    const fault = origin.fault({ match: { path: cut.path }, action: { stallAtByte: 1000 } });
    await rises('damselfly_requests_total', result('aborted'), () =>
      httpGet(node.url + cut.path, { headers: agent, abortAfterBytes: 10 }),
    );
    fault.remove();
    fault.release();
    const unknown = { headers: { ...agent, 'X-Dragonfly-Registry': 'http://127.0.0.1:9' } };
    await rises('damselfly_targets_forbidden_total', {}, () =>
      httpGet(`${node.url}/v2/x/tags/list`, unknown),
    );
    const broken = blobOf(100);
    origin.fault({ match: { path: broken.path, times: 3 }, action: { status: 500 } });
    await rises('damselfly_requests_total', result('failed'), () => get(broken, 0, 9, agent));
    // Five failures in a row would open the breaker.
    await get(blobOf(100));
    const again = blobOf(100);
    origin.fault({ match: { path: again.path, times: 3 }, action: { status: 500 } });
    await rises('dragonfly_client_proxy_request_failure_total', {}, () => get(again, 0, 9));
    await rises('dragonfly_client_proxy_request_total', {}, () => get(again, 0, 9));
    await rises('damselfly_passed_through_total', {}, () => httpGet(`${node.url}/v2/lab/open/tags/list`));
  });

  await t.test('rights: by outcome', async () => {
    const outcome = (name: string) => ['damselfly_rights_checks_total', { outcome: name }] as const;
    const blob = blobOf(2000);
    await rises(...outcome('granted'), () => get(blob));
    await rises(...outcome('known'), () => get(blob));
    await rises(...outcome('refused'), () => get(secret));
  });

  await t.test('background fills: begun, and failed', async () => {
    const hinted = { 'X-Dragonfly-Prefetch': 'true' };
    await rises('dragonfly_client_prefetch_task_total', {}, () => get(blobOf(8 * MIB), 0, 9, hinted));
    const failing = blobOf(8 * MIB);
    const later = origin.fault({
      match: { path: failing.path, where: ({ range = '' }) => !range.startsWith('bytes=0-') },
      action: { status: 404 },
    });
    await rises('dragonfly_client_prefetch_task_failure_total', {}, () => get(failing, 0, 9, hinted));
    later.remove();
  });

  await t.test('the origin: requests, failures, retries, its breaker', async () => {
    const labels = { scheme: 'http', method: 'GET' };
    const head = { scheme: 'http', method: 'HEAD' };
    await rises('dragonfly_client_backend_request_total', labels, () => get(blobOf(100)));
    await rises('dragonfly_client_backend_request_total', head, () =>
      httpGet(node.url + blobOf(100).path, { method: 'HEAD' }),
    );
    await rises('dragonfly_client_backend_request_duration_milliseconds_count', labels, () =>
      get(blobOf(100)),
    );
    await rises('damselfly_origin_bytes_total', {}, () => get(blobOf(100)));
    await rises('damselfly_received_bytes_total', { source: 'origin' }, () => get(blobOf(100)));
    const faults = {
      connect: { dropConnection: true },
      status: { status: 502 },
      body: { resetAtByte: 500_000 },
    } as const;
    for (const [reason, action] of Object.entries(faults)) {
      const blob = blobOf(2 * MIB);
      origin.fault({ match: { path: blob.path, times: 1 }, action });
      await rises('damselfly_origin_retries_total', { reason }, () => get(blob));
    }
    const lying = blobOf(1000);
    origin.fault({ match: { path: lying.path, times: 1 }, action: { flipAtOffset: 5 } });
    await rises('damselfly_digest_mismatch_total', {}, () => get(lying));
    const held = blobOf(1000);
    const hold = origin.fault({ match: { path: held.path }, action: { neverAnswer: true } });
    const asking = get(held, 0, 9);
    await eventually(async () => (await scrape()).sum('damselfly_origin_requests_open') > 0);
    hold.remove();
    hold.release();
    await asking;
    const down = origin.fault({ action: { status: 500 } });
    await rises('dragonfly_client_backend_request_failure_total', labels, async () => {
      for (let i = 0; i < 5; i += 1) await get(blobOf(100));
    });
    assert.equal((await scrape()).sum('damselfly_origin_breaker_open', { origin: origin.host }), 1);
    const warm = blobOf(0);
    await rises('damselfly_rights_checks_total', { outcome: 'unreachable' }, () => get(warm));
    down.remove();
  });

  const atEnd = await scrape();
  assert.deepEqual(atEnd.names, atStart.names, 'every series is there from the start');
  for (const name of atEnd.names) {
    if (OF_THE_SWARM.has(name)) continue;
    const [file, text] = ELSEWHERE[name] ?? [];
    if (file === undefined || text === undefined)
      assert.ok(atEnd.moved(name) || SEEN.has(name), `${name} stands still`);
    else
      assert.ok(
        readFileSync(new URL(`../${file}`, import.meta.url), 'utf8').includes(text),
        `${file}: ${text}`,
      );
  }
});
