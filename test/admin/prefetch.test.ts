import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { type PrefetchPorts, prefetchImage } from '../../src/admin/prefetch.ts';
import type { PrefetchEvent } from '../../src/admin/prefetch-events.ts';
import { Credential } from '../../src/blob/credential.ts';
import { type Digest, digestOf } from '../../src/blob/digest.ts';
import type { OriginId, Upstream } from '../../src/blob/upstream.ts';
import { DamselflyError, OriginRefusal } from '../../src/errors.ts';

const REFERENCE = 'registry.example.com/team/app:v1';

beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }));
afterEach(() => mock.timers.reset());

function digestNamed(name: string): Digest {
  return digestOf(Buffer.from(name));
}

function image(...layers: readonly (readonly [name: string, size: number])[]) {
  return {
    config: { digest: digestNamed('config'), size: 5 },
    layers: layers.map(([name, size]) => ({ digest: digestNamed(name), size })),
  };
}

interface Shop {
  readonly ports: PrefetchPorts;
  /** What was read, in order: `manifest v1`, `fill <digest>`. */
  readonly reads: string[];
  readonly upstreams: Upstream[];
  readonly refusals: OriginRefusal[];
  readonly running: { now: number; most: number };
}

/** An origin with these manifests, by tag or name of the digest, whose blobs come by `fill`. */
function shop(
  manifests: Readonly<Record<string, unknown>>,
  fill: PrefetchPorts['fill'] = async ({ size = 9 }, _upstream, _signal, onBytes) => {
    onBytes(size);
    return size;
  },
): Shop {
  const reads: string[] = [];
  const upstreams: Upstream[] = [];
  const refusals: OriginRefusal[] = [];
  const running = { now: 0, most: 0 };
  let tokens = 0;
  const ports: PrefetchPorts = {
    resolve: (registry) => `https://${registry.replace(/^https?:\/\//, '')}` as OriginId,
    credentialFor: async () => Credential.of(`Bearer ${++tokens}`),
    refused: (_origin, _repository, refusal) => void refusals.push(refusal),
    manifest: async (upstream, reference) => {
      reads.push(`manifest ${reference}`);
      upstreams.push(upstream);
      const found = Object.entries(manifests).find(([name]) =>
        [name, String(digestNamed(name))].includes(reference),
      )?.[1];
      if (found === undefined) throw new OriginRefusal(404, [], new Uint8Array(0));
      if (found instanceof Error) throw found;
      return Buffer.from(typeof found === 'string' ? found : JSON.stringify(found));
    },
    fill: async (blob, upstream, signal, onBytes) => {
      reads.push(`fill ${blob.digest}`);
      upstreams.push(upstream);
      running.most = Math.max(running.most, ++running.now);
      try {
        return await fill(blob, upstream, signal, onBytes);
      } finally {
        running.now--;
      }
    },
  };
  return { ports, reads, upstreams, refusals, running };
}

async function run(ports: PrefetchPorts, reference = REFERENCE, platform?: string): Promise<PrefetchEvent[]> {
  const request = { reference, ...(platform === undefined ? {} : { platform }) };
  return collect(prefetchImage(ports, request, new AbortController().signal));
}

async function collect(events: AsyncIterable<PrefetchEvent>): Promise<PrefetchEvent[]> {
  const found: PrefetchEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
}

function failureOf(events: readonly PrefetchEvent[]) {
  const last = events.at(-1);
  assert.equal(last?.event, 'failed');
  return last;
}

test('an image is its config and its layers, read as the node from its repository', async () => {
  const { ports, reads, upstreams } = shop({ v1: image(['layer a', 100], ['layer b', 20]) });
  const events = await run(ports);
  assert.deepEqual(events, [
    { event: 'start', reference: REFERENCE, blobs: 3, blobsDone: 0, bytesDone: 0, bytesTotal: 125 },
    { event: 'done', reference: REFERENCE, blobs: 3, blobsDone: 3, bytesDone: 125, bytesTotal: 125 },
  ]);
  assert.deepEqual(reads, [
    'manifest v1',
    ...['config', 'layer a', 'layer b'].map((name) => `fill ${digestNamed(name)}`),
  ]);
  assert.deepEqual(
    new Set(upstreams.map(({ origin, repository }) => `${origin} ${repository}`)),
    new Set(['https://registry.example.com team/app']),
  );
  assert.deepEqual(
    upstreams.map(({ kind }) => kind),
    ['manifest', 'blob', 'blob', 'blob'],
  );
  for (const { credential } of upstreams) assert.equal(credential.isAnonymous, false);
});

test('of an index the platform is followed, and a layer that two images share is read once', async () => {
  const platformed = (name: string, platform: object) => ({ digest: digestNamed(name), size: 1, platform });
  const { ports, reads } = shop({
    v1: {
      manifests: [
        platformed('amd', { os: 'linux', architecture: 'amd64' }),
        platformed('arm', { os: 'linux', architecture: 'arm64' }),
        platformed('amd nydus', {
          os: 'linux',
          architecture: 'amd64',
          'os.features': ['nydus.remoteimage.v1'],
        }),
      ],
    },
    amd: image(['shared', 10]),
    'amd nydus': image(['shared', 10], ['nydus blob', 50], ['bootstrap', 2]),
  });
  const events = await run(ports, REFERENCE, 'linux/amd64');
  assert.equal(events.at(-1)?.event, 'done');
  assert.deepEqual(reads.slice(0, 3), [
    'manifest v1',
    `manifest ${digestNamed('amd')}`,
    `manifest ${digestNamed('amd nydus')}`,
  ]);
  assert.deepEqual(
    reads.slice(3),
    ['config', 'shared', 'nydus blob', 'bootstrap'].map((name) => `fill ${digestNamed(name)}`),
  );
});

test('a blob URL is one blob of unknown size', async () => {
  const { ports, reads } = shop({});
  const digest = digestNamed('blob');
  const events = await run(ports, `https://registry.example.com/v2/team/app/blobs/${digest}`);
  assert.deepEqual(
    events.map(({ event, bytesDone, bytesTotal }) => [event, bytesDone, bytesTotal]),
    [
      ['start', 0, null],
      ['done', 9, 9],
    ],
  );
  assert.deepEqual(reads, [`fill ${digest}`]);
});

test('progress about twice a second, with what has come', async () => {
  const gate = Promise.withResolvers<void>();
  const { ports } = shop({ v1: image(['layer', 100]) }, async ({ size = 0 }, _upstream, _signal, onBytes) => {
    if (size === 100) {
      onBytes(40);
      await gate.promise;
      onBytes(60);
    }
    return size;
  });
  const events = prefetchImage(ports, { reference: REFERENCE }, new AbortController().signal);
  assert.equal((await events.next()).value?.event, 'start');
  const next = events.next();
  await new Promise((resolve) => setImmediate(resolve));
  mock.timers.tick(500);
  const { value: progress } = await next;
  assert.deepEqual(progress, {
    event: 'progress',
    reference: REFERENCE,
    blobs: 2,
    blobsDone: 1,
    bytesDone: 45,
    bytesTotal: 105,
  });
  gate.resolve();
  assert.equal((await events.next()).value?.event, 'done');
});

test('at most three blobs at once', async () => {
  const layers = Array.from({ length: 12 }, (_, i) => [`layer ${i}`, 1] as const);
  const { ports, running } = shop({ v1: image(...layers) }, async ({ size = 0 }) => {
    await new Promise((resolve) => setImmediate(resolve));
    return size;
  });
  assert.equal((await run(ports)).at(-1)?.event, 'done');
  assert.equal(running.most, 3);
});

test('what the origin refuses is told with its status and what to do', async () => {
  const failed = failureOf(await run(shop({}).ports));
  assert.equal(failed.code, 'origin-refused');
  assert.match(failed.message, /answered 404 for registry\.example\.com\/team\/app:v1/);
  assert.match(failed.message, /credentialsFile/);
});

test('a blob that fails ends the others and is the reason', async () => {
  const reasons: unknown[] = [];
  const { ports, running } = shop(
    { v1: image(['good', 1], ['bad', 2], ['slow', 3]) },
    async (blob, _u, signal) => {
      if (blob.size === 2) throw new DamselflyError('digest-mismatch', 'wrong bytes');
      if (blob.size === 1 || blob.size === 5) return blob.size;
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          reject(signal.reason);
        }),
      );
      return 0;
    },
  );
  const failed = failureOf(await run(ports));
  assert.equal(failed.code, 'digest-mismatch');
  assert.equal(failed.message, 'wrong bytes');
  assert.equal(reasons.length, 1);
  assert.equal(running.now, 0);
});

test('a token that ended early is renewed once; bytes are not counted twice', async () => {
  let attempts = 0;
  const { ports, refusals, upstreams } = shop({ v1: image() }, async ({ size = 0 }, _u, _s, onBytes) => {
    onBytes(3);
    if (++attempts === 1) throw new OriginRefusal(401, ['www-authenticate', 'Bearer'], new Uint8Array(0));
    onBytes(size - 3);
    return size;
  });
  const last = (await run(ports)).at(-1);
  assert.deepEqual([last?.event, last?.bytesDone], ['done', 5]);
  assert.equal(refusals.length, 1);
  const [, first, second] = upstreams.map(({ credential }) => credential.headers().authorization);
  assert.notEqual(first, second);
});

test('a credential that is refused again is the end', async () => {
  const { ports, refusals } = shop({ v1: new OriginRefusal(401, [], new Uint8Array(0)) });
  assert.equal(failureOf(await run(ports)).code, 'origin-refused');
  assert.equal(refusals.length, 2);
});

test('a manifest that names nothing is no success', async () => {
  for (const nothing of ['no JSON', { schemaVersion: 1, fsLayers: [{ blobSum: digestNamed('x') }] }, {}]) {
    assert.equal(failureOf(await run(shop({ v1: nothing }).ports)).code, 'origin-broken');
  }
});

test('indexes in indexes end', async () => {
  const inside = (name: string) => ({ manifests: [{ digest: digestNamed(name), size: 1 }] });
  const { ports, reads } = shop({ v1: inside('a'), a: inside('b'), b: inside('a') });
  assert.equal(failureOf(await run(ports)).code, 'reference-malformed');
  assert.ok(reads.length <= 4);
});

test('malformed words, an origin that is not allowed and a missing platform are told', async () => {
  const index = {
    manifests: [{ digest: digestNamed('a'), platform: { os: 'windows', architecture: 'amd64' } }],
  };
  const { ports } = shop({ v1: index });
  assert.equal(failureOf(await run(ports, 'UPPER')).code, 'reference-malformed');
  assert.equal(failureOf(await run(ports, REFERENCE, 'x')).code, 'reference-malformed');
  assert.match(failureOf(await run(ports, REFERENCE, 'linux/arm64')).message, /it has windows\/amd64/);
  const closed: PrefetchPorts = {
    ...ports,
    resolve: () => {
      throw new DamselflyError('origin-not-listed', 'not listed');
    },
  };
  assert.equal(failureOf(await run(closed)).code, 'origin-not-listed');
});

test('a fault of our own is told without its text', async () => {
  const logged: unknown[] = [];
  const { ports } = shop({ v1: new TypeError('secret') });
  const log = { error: (facts: unknown) => logged.push(facts) } as unknown as PrefetchPorts['log'];
  const failed = failureOf(await run({ ...ports, log }));
  assert.equal(failed.code, 'internal');
  assert.doesNotMatch(failed.message, /secret/);
  assert.equal(logged.length, 1);
});

test('a stop ends it with the reason of the stop', async () => {
  const stop = new AbortController();
  const { ports } = shop({ v1: image(['layer', 100]) }, (_blob, _upstream, signal) => {
    stop.abort(new DamselflyError('shutting-down', 'The node is stopping'));
    return Promise.reject(signal.reason);
  });
  const events = await collect(prefetchImage(ports, { reference: REFERENCE }, stop.signal));
  assert.equal(failureOf(events).code, 'shutting-down');
});

test('leaving early ends what is under way before it returns', async () => {
  const { ports, running } = shop({ v1: image(['layer', 100]) }, (_blob, _upstream, signal) => {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  });
  const events = prefetchImage(ports, { reference: REFERENCE }, new AbortController().signal);
  await events.next();
  const next = events.next();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(running.now, 2);
  mock.timers.tick(500);
  await next;
  await events.return(undefined);
  assert.equal(running.now, 0);
});
