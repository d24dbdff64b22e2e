import { type Descriptor, manifestDescriptors } from '../access/manifest-descriptors.ts';
import type { Credential } from '../blob/credential.ts';
import type { Digest } from '../blob/digest.ts';
import type { BlobAddress } from '../blob/source.ts';
import type { OriginId, Upstream } from '../blob/upstream.ts';
import { DamselflyError, OriginRefusal } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import { chooseManifests, type PlatformChoice, parsePlatform } from './platform.ts';
import type { PrefetchEvent, PrefetchRequest } from './prefetch-events.ts';
import { parseReference, type Reference } from './reference.ts';
import { within } from './within.ts';

/** Enough to keep a link busy while one blob ends and the next begins; more only spreads the origin's patience. */
const BLOBS_AT_ONCE = 3;
const EVENT_MS = 500;
/** An index inside an index, and no further. */
const MAX_DEPTH = 3;
/** Of one reference: an index for every platform that there is stays far below. */
const MAX_MANIFESTS = 64;

export interface PrefetchPorts {
  resolve(registry: string): OriginId;
  credentialFor(origin: OriginId, repository: string, options: { signal: AbortSignal }): Promise<Credential>;
  /** A 401 in spite of the credential: the next `credentialFor` gets a new one. */
  refused?(origin: OriginId, repository: string, refusal: OriginRefusal): void;
  /** Fetched, checked against its digest, and kept. */
  manifest(upstream: Upstream, reference: string, signal: AbortSignal): Promise<Uint8Array>;
  /** Brings a whole blob into the store. @param onBytes called with further bytes that are here. @returns its size. */
  fill(
    blob: BlobAddress,
    upstream: Upstream,
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<number>;
  /** For faults of our own, whose details are told to nobody else. */
  readonly log?: Logger;
}

/** The same refusals that {@link prefetchImage} would end with, for a caller that can still answer with a status. */
export function checkPrefetchRequest({ reference, platform }: PrefetchRequest): void {
  parseReference(reference);
  parsePlatform(platform);
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
  const job = new Job(request.reference);
  try {
    const walk = new ImageWalk(ports, parseReference(request.reference), parsePlatform(request.platform));
    job.want(await walk.blobs(signal));
    yield { event: 'start', ...job.state() };
    yield* fillAll(walk, job, signal);
    yield { event: 'done', ...job.state() };
  } catch (error) {
    const cause = signal.aborted ? signal.reason : error;
    if (!isExpected(cause)) ports.log?.error({ err: cause }, 'a prefetch failed unexpectedly');
    yield { event: 'failed', ...job.state(), ...explain(cause, request.reference) };
  }
}

interface WantedBlob {
  readonly digest: Digest;
  readonly size: number | undefined;
  bytes: number;
  done: boolean;
}

/** How far one request is. */
class Job {
  readonly #reference: string;
  #blobs: readonly WantedBlob[] = [];

  constructor(reference: string) {
    this.#reference = reference;
  }

  want(blobs: readonly BlobAddress[]): void {
    this.#blobs = blobs.map(({ digest, size }) => ({ digest, size, bytes: 0, done: false }));
  }

  get blobs(): readonly WantedBlob[] {
    return this.#blobs;
  }

  state() {
    const sum = (bytesOf: (blob: WantedBlob) => number) =>
      this.#blobs.reduce((total, blob) => total + bytesOf(blob), 0);
    const sized = this.#blobs.length > 0 && this.#blobs.every(({ size, done }) => done || size !== undefined);
    return {
      reference: this.#reference,
      blobs: this.#blobs.length,
      blobsDone: this.#blobs.filter(({ done }) => done).length,
      bytesDone: sum(({ bytes }) => bytes),
      // What a manifest says of a size is its word only: what came counts once it is here.
      bytesTotal: sized ? sum(({ done, bytes, size }) => (done ? bytes : (size ?? 0))) : null,
    };
  }
}

/** Reads one reference as the node. A credential is asked for before each step, since tokens are short-lived. */
class ImageWalk {
  readonly #ports: PrefetchPorts;
  readonly #named: Reference;
  readonly #choice: PlatformChoice;
  readonly #origin: OriginId;
  #manifests = 0;

  constructor(ports: PrefetchPorts, named: Reference, choice: PlatformChoice) {
    this.#ports = ports;
    this.#named = named;
    this.#choice = choice;
    this.#origin = ports.resolve(named.registry);
  }

  async blobs(signal: AbortSignal): Promise<BlobAddress[]> {
    if (this.#named.kind === 'blob') return [{ digest: this.#named.digest, size: undefined }];
    const found = new Map<Digest, BlobAddress>();
    await this.#collect(this.#named.reference, found, signal, MAX_DEPTH);
    return [...found.values()];
  }

  async fill(blob: WantedBlob, signal: AbortSignal): Promise<void> {
    await this.#asNode('blob', signal, async (upstream) => {
      blob.bytes = 0;
      const address = { digest: blob.digest, size: blob.size };
      blob.bytes = await this.#ports.fill(address, upstream, signal, (bytes) => {
        blob.bytes += bytes;
      });
    });
    blob.done = true;
  }

  async #collect(
    reference: string,
    found: Map<Digest, BlobAddress>,
    signal: AbortSignal,
    depth: number,
  ): Promise<void> {
    if (++this.#manifests > MAX_MANIFESTS || depth === 0) {
      throw new DamselflyError(
        'reference-malformed',
        `The index names more than ${MAX_MANIFESTS} manifests, or indexes in indexes: choose one with --platform, or name a manifest by its digest`,
      );
    }
    const bytes = await this.#asNode('manifest', signal, (upstream) =>
      this.#ports.manifest(upstream, reference, signal),
    );
    const named = manifestDescriptors(bytes);
    if (named.length === 0) {
      throw new DamselflyError(
        'origin-broken',
        `What ${this.#origin} has as ${this.#named.repository} ${reference} is no OCI or Docker (schema 2) image or index`,
      );
    }
    for (const { digest, size, role } of named) if (role !== 'manifest') found.set(digest, { digest, size });
    const manifests: Descriptor[] = named.filter(({ role }) => role === 'manifest');
    if (manifests.length === 0) return;
    for (const { digest } of chooseManifests(manifests, this.#choice)) {
      await this.#collect(digest, found, signal, depth - 1);
    }
  }

  /** A token that ended early is renewed once; what is here already is not read again. */
  async #asNode<T>(
    kind: Upstream['kind'],
    signal: AbortSignal,
    use: (upstream: Upstream) => Promise<T>,
  ): Promise<T> {
    const { repository } = this.#named;
    const origin = this.#origin;
    for (let attempt = 1; ; attempt++) {
      const credential = await this.#ports.credentialFor(origin, repository, { signal });
      try {
        return await use({ origin, repository, kind, credential });
      } catch (error) {
        if (!(error instanceof OriginRefusal) || error.status !== 401) throw error;
        this.#ports.refused?.(origin, repository, error);
        if (attempt === 2) throw error;
      }
    }
  }
}

/** Fills a few blobs at once. Leaving it early ends them, and nothing goes on behind it. */
async function* fillAll(walk: ImageWalk, job: Job, outer: AbortSignal): AsyncGenerator<PrefetchEvent> {
  const own = new AbortController();
  const signal = AbortSignal.any([outer, own.signal]);
  const queue = [...job.blobs];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await walk.fill(next, signal);
  };
  const workers = Array.from({ length: BLOBS_AT_ONCE }, work);
  const all = Promise.all(workers).then(() => true);
  try {
    while ((await within(all, EVENT_MS)) === undefined) yield { event: 'progress', ...job.state() };
  } finally {
    own.abort(new DamselflyError('shutting-down', 'The prefetch was given up'));
    await Promise.allSettled(workers);
  }
}

function isExpected(error: unknown): boolean {
  return (
    (error instanceof DamselflyError && error.code !== 'internal') ||
    error instanceof OriginRefusal ||
    (error instanceof Error && error.name === 'AbortError')
  );
}

function explain(error: unknown, reference: string): { code: DamselflyError['code']; message: string } {
  if (error instanceof DamselflyError) return { code: error.code, message: error.message };
  if (error instanceof OriginRefusal) {
    return {
      code: 'origin-refused',
      message: `The origin answered ${error.status} for ${reference}: is it spelt right, and may this node read it (origins[].credentialsFile)?`,
    };
  }
  return { code: 'internal', message: 'A fault of Damselfly itself; the log has its details' };
}
