import { arch } from 'node:os';
import { type Descriptor, manifestDescriptors } from '../access/manifest-descriptors.ts';
import type { Credential } from '../blob/credential.ts';
import type { Digest } from '../blob/digest.ts';
import type { BlobAddress } from '../blob/source.ts';
import type { OriginId, Upstream } from '../blob/upstream.ts';
import { DamselflyError, OriginRefusal } from '../errors.ts';
import type { PrefetchEvent, PrefetchRequest } from './prefetch-events.ts';
import { parseReference } from './reference.ts';

const BLOBS_AT_ONCE = 3;
const EVENT_MS = 500;
/** An index inside an index, and no further. */
const MAX_DEPTH = 3;

export interface PrefetchPorts {
  resolve(registry: string): OriginId;
  credentialFor(origin: OriginId, repository: string, options: { signal: AbortSignal }): Promise<Credential>;
  /** Fetched, checked against its digest, and kept. */
  manifest(upstream: Upstream, reference: string, signal: AbortSignal): Promise<Uint8Array>;
  /** Brings a whole blob into the store. @param onBytes called with further bytes that are here. @returns its size. */
  fill(
    blob: BlobAddress,
    upstream: Upstream,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<number>;
}

interface Wanted {
  readonly digest: Digest;
  readonly size: number | undefined;
}

/**
 * Brings an image into the cache with the node's own credentials: index → platform → config, layers, Nydus bootstrap
 * and blobs. Never throws: the last event says how it ended.
 */
export async function* prefetchImage(
  ports: PrefetchPorts,
  request: PrefetchRequest,
  signal: AbortSignal,
): AsyncGenerator<PrefetchEvent> {
  const { reference } = request;
  const state = { reference, blobs: 0, blobsDone: 0, bytesDone: 0, bytesTotal: 0 as number | null };
  try {
    const named = parseReference(reference);
    const origin = ports.resolve(named.registry);
    const credential = await ports.credentialFor(origin, named.repository, { signal });
    const upstream: Upstream = { origin, repository: named.repository, kind: 'blob', credential };
    const wanted =
      named.kind === 'blob'
        ? [{ digest: named.digest, size: undefined }]
        : await blobsOf(
            ports,
            { ...upstream, kind: 'manifest' },
            named.reference,
            request.platform,
            signal,
            MAX_DEPTH,
          );
    state.blobs = wanted.length;
    state.bytesTotal = wanted.every(({ size }) => size !== undefined)
      ? wanted.reduce((sum, { size = 0 }) => sum + size, 0)
      : null;
    yield { event: 'start', ...state };
    yield* fillAll(ports, upstream, wanted, state, signal);
    yield { event: 'done', ...state, bytesTotal: state.bytesDone };
  } catch (error) {
    yield { event: 'failed', ...state, ...explain(error) };
  }
}

async function* fillAll(
  ports: PrefetchPorts,
  upstream: Upstream,
  wanted: readonly Wanted[],
  state: {
    reference: string;
    blobs: number;
    blobsDone: number;
    bytesDone: number;
    bytesTotal: number | null;
  },
  outer: AbortSignal,
): AsyncGenerator<PrefetchEvent> {
  const failed = new AbortController();
  const signal = AbortSignal.any([outer, failed.signal]);
  const queue = [...wanted];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      await ports.fill(next, upstream, signal, (bytes) => {
        state.bytesDone += bytes;
      });
      state.blobsDone += 1;
    }
  };
  const all = Promise.all(Array.from({ length: BLOBS_AT_ONCE }, work)).then(() => true as const);
  all.catch(() => failed.abort(new DamselflyError('shutting-down', 'Another blob of the image failed')));
  try {
    for (;;) {
      const tick = Promise.withResolvers<false>();
      const timer = setTimeout(() => tick.resolve(false), EVENT_MS);
      try {
        if (await Promise.race([all, tick.promise])) return;
      } finally {
        clearTimeout(timer);
      }
      yield { event: 'progress', ...state };
    }
  } finally {
    failed.abort(new DamselflyError('shutting-down', 'The prefetch was given up'));
    await all.catch(() => undefined);
  }
}

async function blobsOf(
  ports: PrefetchPorts,
  upstream: Upstream,
  reference: string,
  platform: string | undefined,
  signal: AbortSignal,
  depth: number,
): Promise<Wanted[]> {
  const found = manifestDescriptors(await ports.manifest(upstream, reference, signal));
  const manifests = found.filter(({ role }) => role === 'manifest');
  const blobs: Wanted[] = found.filter(({ role }) => role !== 'manifest');
  if (manifests.length === 0) return unique(blobs);
  if (depth === 0)
    throw new DamselflyError('reference-malformed', 'The index holds indexes too deep to follow');
  for (const manifest of choose(manifests, platform)) {
    blobs.push(...(await blobsOf(ports, upstream, manifest.digest, platform, signal, depth - 1)));
  }
  return unique(blobs);
}

/** @throws DamselflyError reference-malformed naming the platforms that there are. */
function choose(manifests: readonly Descriptor[], platform: string | undefined): readonly Descriptor[] {
  if (platform === 'all') return manifests;
  const wanted = platform ?? `linux/${goArch()}`;
  const fitting = manifests.filter(
    (manifest) => platformOf(manifest) === wanted || platformOf(manifest)?.startsWith(`${wanted}/`) === true,
  );
  if (fitting.length > 0) return fitting.slice(0, 1);
  const known = manifests.map((manifest) => platformOf(manifest) ?? 'unnamed').join(', ');
  throw new DamselflyError(
    'reference-malformed',
    `The image has nothing for ${wanted}; it has ${known}: choose one with --platform`,
  );
}

function platformOf({ platform }: Descriptor): string | undefined {
  if (platform === undefined) return undefined;
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

function goArch(): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };
  return names[arch()] ?? arch();
}

function unique(blobs: readonly Wanted[]): Wanted[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

function explain(error: unknown): { code: DamselflyError['code']; message: string } {
  if (error instanceof DamselflyError) return { code: error.code, message: error.message };
  if (error instanceof OriginRefusal) {
    return {
      code: 'origin-broken',
      message: `The origin answered ${error.status}: check the reference, and the node's credentials (origins[].credentialsFile)`,
    };
  }
  return { code: 'internal', message: 'A fault of Damselfly itself; the log has its details' };
}
