import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Damselfly } from '../e2e/support/damselfly.ts';
import { Scope } from '../e2e/support/scope.ts';
import { startOrigin, type TestOrigin } from '../support/origin.ts';
import { readTrace, type TraceName, type TraceRequest } from '../support/trace.ts';
import { type ReplayedRequest, replay } from './support/replay.ts';

const MAX_AMPLIFICATION = 1.05;
const CONTAINERD_CHUNK_BYTES = 8 << 20;

// The ranges that real clients sent, against a node in front of a registry that counts what is read.
describe('recorded clients', () => {
  const scope = new Scope();
  after(() => scope.close());

  async function start(): Promise<{ origin: TestOrigin; node: Damselfly }> {
    const origin = await startOrigin();
    scope.defer(() => origin.close());
    return { origin, node: await Damselfly.start(scope, { origins: [origin.host] }) };
  }

  /** Replays cold, then again warm. */
  async function coldThenWarm(
    origin: TestOrigin,
    requests: readonly ReplayedRequest[],
    blobBytes: number,
    lanes: number,
  ): Promise<void> {
    await replay(requests, lanes);
    await origin.idle();
    const cold = origin.bytesSent();
    assert.ok(cold >= blobBytes * 0.99, `the origin sent only ${cold} of ${blobBytes} bytes`);
    assert.ok(cold <= blobBytes * MAX_AMPLIFICATION, `the origin sent ${cold / blobBytes} times the blob`);
    await replay(requests, lanes);
    await origin.idle();
    assert.equal(origin.bytesSent(), cold, 'the second time must not read the origin');
  }

  for (const name of ['nydusd-2.2.0-rafs6-whole-tree', 'nydusd-2.4.4-rafs6-whole-tree'] as const) {
    it(`${name}: right bytes, and the origin is read about once`, async () => {
      const trace = await readTrace(name);
      const { origin, node } = await start();
      const blob = origin.repository('lab/nydus').addBlob({ size: trace.blobSize, seed: name });
      const requests = trace.requests.map((request) =>
        nydusdRequest(name, { ...request, path: blob.path }, { node, origin, size: blob.size }),
      );
      await coldThenWarm(origin, requests, blob.size, 1);
    });
  }

  for (const name of ['nydus-snapshotter-0.16.1-whole-tree', 'stargz-0.19.1-whole-layer'] as const) {
    it(`${name}: the lazy reads behind a snapshotter get right bytes, and the origin is read about once`, async () => {
      const trace = await readTrace(name);
      const { origin, node } = await start();
      const blob = origin.repository('lab/img').addBlob({ size: trace.blobSize, seed: name });
      const expected = { seed: name, size: blob.size };
      const reads = trace.requests.filter(({ method, range }) => method === 'GET' && range !== null);
      const requests = reads.map((read): ReplayedRequest => {
        const request = { ...read, path: blob.path };
        const headers = { accept: '*/*', host: origin.host };
        // nydusd through a proxy, stargz through a mirror.
        return read.path.startsWith('http:')
          ? {
              url: `${node.url}${blob.path}`,
              target: `${origin.url}${blob.path}`,
              headers,
              request,
              expected,
            }
          : { url: `${node.url}${blob.path}?ns=${origin.host}`, headers: {}, request, expected };
      });
      await coldThenWarm(origin, requests, blob.size, 1);
    });
  }

  it('containerd 2.4.2 fetching in parallel: open-ended ranges that hang up cost about one blob', async () => {
    const name = 'containerd-2.4.2-parallel-fetch';
    const trace = await readTrace(name);
    const { origin, node } = await start();
    const repository = origin.repository('lab/big512');
    const layer = repository.addBlob({ size: trace.blobSize, seed: name });
    const config = repository.addBlob({ size: 700, seed: `${name} config` });
    const manifest = repository.addManifest(
      {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: {
          mediaType: 'application/vnd.oci.image.config.v1+json',
          digest: config.digest,
          size: config.size,
        },
        layers: [
          { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.size },
        ],
      },
      { tag: 'v1' },
    );
    const layerPath = mostFrequent(trace.requests.map((request) => request.path));
    const requests = trace.requests.map((request): ReplayedRequest => {
      const common = {
        url: '',
        headers: { accept: '*/*', 'accept-encoding': 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5' },
      };
      const at = (path: string): { url: string; request: TraceRequest } => ({
        url: `${node.url}${path}?ns=${encodeURIComponent(origin.host)}`,
        request: { ...request, path },
      });
      if (request.path.includes('/manifests/v1')) return { ...common, ...at('/v2/lab/big512/manifests/v1') };
      if (request.path.includes('/manifests/')) return { ...common, ...at(manifest.path) };
      if (request.path !== layerPath) {
        return { ...common, ...at(config.path), expected: { seed: `${name} config`, size: config.size } };
      }
      return {
        ...common,
        ...at(layer.path),
        expected: { seed: name, size: layer.size },
        hangUpAfterBytes: CONTAINERD_CHUNK_BYTES,
      };
    });
    await coldThenWarm(origin, requests, layer.size + config.size, 3);
  });
});

interface Around {
  readonly node: Damselfly;
  readonly origin: TestOrigin;
  readonly size: number;
}

/** 2.2.0 spoke to a mirror; 2.4.4 speaks to a forward proxy, and names priority and prefetch. */
function nydusdRequest(name: TraceName, request: TraceRequest, around: Around): ReplayedRequest {
  const { node, origin, size } = around;
  const url = `${node.url}${request.path}`;
  const expected = { seed: name, size };
  if (name === 'nydusd-2.2.0-rafs6-whole-tree') {
    return { url, headers: { 'x-dragonfly-registry': origin.url, accept: '*/*' }, request, expected };
  }
  return {
    url,
    target: `${origin.url}${request.path}`,
    headers: {
      'user-agent': 'nydusd/1.0.0',
      'x-dragonfly-prefetch': 'true',
      'x-dragonfly-priority': '6',
      'x-dragonfly-use-p2p': 'true',
      accept: '*/*',
      host: origin.host,
    },
    request,
    expected,
  };
}

function mostFrequent(values: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const [first] = [...counts].sort(([, a], [, b]) => b - a);
  return first?.[0] ?? '';
}
