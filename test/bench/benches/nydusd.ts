import { lacking } from '../../e2e/support/capabilities.ts';
import { realTree } from '../../e2e/support/images.ts';
import { buildRafs, type RafsImage } from '../../e2e/support/nydus-image.ts';
import { mountNydus, type NydusRoute } from '../../e2e/support/nydusd.ts';
import { Scope } from '../../e2e/support/scope.ts';
import { OriginProcess } from '../../support/origin-process.ts';
import { findCommand } from '../programs.ts';
import { Damselfly } from '../rivals/damselfly.ts';
import { Nginx } from '../rivals/nginx.ts';
import { type Bench, inTurn, MIB, MINUTE_MS, OURS, type Stage } from '../stage.ts';
import { readList, readTree, smallFiles, type TreeRead } from '../tree-reads.ts';

const REPOSITORY = 'b/nydus';
const ORIGIN_TIMEOUT_MS = 60_000;
/** As many as a start of an application reads. */
const SMALL_FILES = 400;

interface Way {
  readonly name: string;
  /** A server with an empty cache, or none; ended with the scope. */
  start(scope: Scope): Promise<{ readonly route: NydusRoute; stop(): Promise<void> }>;
}

/** The real client: nydusd 2.2.0 mounts a RAFS v6 image and is read, on a cold and on a warm node. */
export const nydusd: Bench = {
  what: 'a real nydusd reads a whole tree, and a list of small files, on a cold and a warm node; against direct and nginx',
  deadlineMs: 30 * MINUTE_MS,
  run: async (stage) => {
    const missing = lacking('nydusd', 'nydus-image', 'fuse', 'root');
    if (missing !== false) {
      stage.record.note(`not run: ${missing}`);
      return;
    }
    // Some 300 MB of real software, or one package of it.
    const tree = await realTree(stage.scope, stage.quick ? 'fastify' : '.');
    const image = await buildRafs(tree, await stage.scope.folder('rafs'), 6);
    const origin = await OriginProcess.start(
      { repositories: { [REPOSITORY]: { files: [image.blob.file] } } },
      ORIGIN_TIMEOUT_MS,
    );
    stage.scope.defer(() => origin.close());
    stage.record.note(`RAFS v6, one blob of ${Math.round(image.blob.size / MIB)} MiB`);
    const small = await smallFiles(tree, SMALL_FILES);
    const reads: readonly TreeRead[] = [
      {
        name: 'the whole tree',
        read: (mount) => readTree(mount, stage.signal),
        expected: await readTree(tree, stage.signal),
      },
      {
        name: `${small.length} small files`,
        read: (mount) => readList(mount, small, stage.signal),
        expected: await readList(tree, small, stage.signal),
      },
    ];
    const rounds = stage.rounds ?? (stage.quick ? 1 : 5);
    for (let round = 0; round < rounds; round += 1) {
      for (const read of reads) {
        for (const way of inTurn(waysTo(stage, origin), round)) {
          await measure(stage, { way, image, origin, read, round });
        }
      }
    }
  },
};

/** nginx cannot be a forward proxy that caches, so it stands where nydusd ≤ 2.3.4 puts a mirror. */
function waysTo(stage: Stage, origin: OriginProcess): Way[] {
  const none = async (): Promise<void> => undefined;
  const ours = (kind: 'mirrors' | 'proxy'): Way => ({
    name: `${OURS} ${kind}`,
    start: async (scope) => {
      const node = await Damselfly.start({ scope, signal: stage.signal }, origin.host);
      const pingUrl = `${node.url}/ping`;
      const route: NydusRoute =
        kind === 'proxy'
          ? { kind, url: node.url, pingUrl }
          : { kind, url: node.url, pingUrl, registryHeader: origin.url };
      return { route, stop: () => node.stop() };
    },
  });
  const nginx: Way = {
    name: 'nginx slice 1m (mirrors)',
    start: async (scope) => {
      const server = await Nginx.start(scope, { kind: 'cache', upstream: origin.url, slice: '1m' });
      const { url } = server;
      return {
        route: { kind: 'mirrors', url, pingUrl: `${url}/ready`, registryHeader: origin.url },
        stop: () => server.stop(),
      };
    },
  };
  const hasNginx = findCommand('nginx') !== undefined;
  if (!hasNginx) stage.record.note('left out: nginx slice 1m (no nginx on this machine)');
  return [
    { name: 'direct', start: async () => ({ route: { kind: 'direct' }, stop: none }) },
    ...(hasNginx ? [nginx] : []),
    ours('mirrors'),
    ours('proxy'),
  ];
}

interface Measurement {
  readonly way: Way;
  readonly image: RafsImage;
  readonly origin: OriginProcess;
  readonly read: TreeRead;
  readonly round: number;
}

/** A fresh server, then twice a fresh nydusd with an empty cache of its own: first nobody has the bytes, then the node. */
async function measure(stage: Stage, { way, image, origin, read, round }: Measurement): Promise<void> {
  const scope = new Scope();
  stage.scope.defer(() => scope.close());
  try {
    const { route } = await way.start(scope);
    for (const temperature of ['cold', 'warm'] as const) {
      stage.signal.throwIfAborted();
      const sentBefore = await origin.bytesSent();
      const mount = await mountNydus(scope, {
        ...{ image, registryHost: origin.host, repository: REPOSITORY },
        ...{ route, prefetch: false },
      });
      const begunMs = performance.now();
      const got = await read.read(mount.mountpoint);
      const seconds = (performance.now() - begunMs) / 1000;
      if (got !== read.expected)
        throw new Error(`${way.name}: ${read.name} read as ${got}, not ${read.expected}`);
      await mount.unmount();
      await origin.idle();
      const figure = { case: `${read.name}, ${temperature} node`, rival: way.name, round };
      stage.record.add({ ...figure, measure: 's', value: seconds });
      const value = ((await origin.bytesSent()) - sentBefore) / image.blob.size;
      stage.record.add({ ...figure, measure: 'origin bytes per byte of the blob', value });
    }
  } finally {
    await scope.close();
  }
}
