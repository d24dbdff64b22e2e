import { createHash } from 'node:crypto';
import type { AccessGate } from '../access/access-gate.ts';
import type { BlobOwners } from '../access/blob-owners.ts';
import { manifestDescriptors } from '../access/manifest-descriptors.ts';
import { checkedDigest, type Digest, parseDigest } from '../blob/digest.ts';
import type { SourceName } from '../blob/source.ts';
import type { Upstream } from '../blob/upstream.ts';
import { Urgency } from '../blob/urgency.ts';
import type { Content } from '../content/content.ts';
import { DamselflyError, isOriginDown, OriginRefusal } from '../errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { HeadAnswer, ManifestAnswer, OriginClient } from '../origin/origin-client.ts';
import type { BlobRoute } from './blob-route.ts';
import { CLIENT_IDLE_TIMEOUT_MS } from './body-writer.ts';
import { type Call, PLAIN_HEAD_MS } from './call.ts';
import { resetWhenIdle } from './client-idle.ts';
import { blobHeaders, DEFAULT_MEDIA_TYPE, safeMediaType } from './headers.ts';
import type { SharedManifests } from './shared-manifests.ts';

export interface ManifestRouteParts {
  readonly gate: AccessGate;
  readonly content: Content;
  readonly owners: BlobOwners;
  readonly origin: Pick<OriginClient, 'head' | 'getManifest'>;
  readonly blobs: BlobRoute;
  readonly shared: SharedManifests;
  readonly metrics: Metrics;
}

export interface ManifestQuery {
  readonly upstream: Upstream;
  /** Tag or digest, as written. */
  readonly reference: string;
  /** Null for a tag, and for a digest that we cannot verify. */
  readonly digest: Digest | null;
  readonly namespace: string | undefined;
}

/**
 * GET and HEAD of manifests. By digest they are blobs with a media type. A tag is resolved at the origin each time, by
 * a HEAD first: when its digest is on this node, or another node gives it, no GET is spent (Docker Hub counts those). A
 * Range is ignored.
 */
export class ManifestRoute {
  readonly #parts: ManifestRouteParts;

  constructor(parts: ManifestRouteParts) {
    this.#parts = parts;
  }

  async handle(call: Call, query: ManifestQuery): Promise<void> {
    call.headWithin(PLAIN_HEAD_MS);
    call.countAsBlob();
    const upstream = await this.#parts.gate.effective(query.upstream, call.signal);
    const asked = { ...query, upstream };
    if (query.digest === null) await this.#byTag(call, asked);
    else await this.#byDigest(call, asked, query.digest);
  }

  async #byDigest(call: Call, query: ManifestQuery, digest: Digest): Promise<void> {
    const { gate } = this.#parts;
    if (this.#isHere(digest)) {
      await this.#parts.blobs.handle(
        call,
        { upstream: query.upstream, digest, namespace: query.namespace },
        { ignoreRange: true },
      );
      return;
    }
    if (call.isHead) {
      const head = await this.#head(call, query);
      gate.learn(query.upstream, digest, head.status);
      this.#relayHead(call, head, query);
      return;
    }
    if (this.#parts.shared.isShared(query.upstream)) {
      const head = await this.#head(call, query);
      if (await this.#fromAnybody(call, query, digest, head)) return;
    }
    await this.#fetch(call, query);
  }

  async #byTag(call: Call, query: ManifestQuery): Promise<void> {
    let head: HeadAnswer;
    try {
      head = await this.#head(call, query);
    } catch (error) {
      await this.#whileOriginIsDown(call, query, error);
      return;
    }
    const digest =
      head.status === 200 && !head.viaGet ? parseDigest(head.header('docker-content-digest') ?? '') : null;
    if (digest !== null) this.#learn(query, digest);
    if (call.isHead && !head.viaGet) return this.#relayHead(call, head, query);
    if (digest !== null && this.#isHere(digest)) {
      await this.#parts.blobs.handle(
        call,
        { upstream: query.upstream, digest, namespace: query.namespace },
        { ignoreRange: true },
      );
      return;
    }
    if (digest !== null && !call.isHead && (await this.#fromAnybody(call, query, digest, head))) return;
    // The HEAD's refusal has no body: the GET's has, and it may even be another answer.
    await this.#fetch(call, query);
  }

  /** Its bytes may have come as a blob's: then nobody said what kind of manifest they are, and the origin is asked. */
  #isHere(digest: Digest): boolean {
    const { content } = this.#parts;
    if (!content.isFinished(digest)) return false;
    return safeMediaType(content.describe(digest)?.mediaType) !== DEFAULT_MEDIA_TYPE;
  }

  #head(call: Call, { upstream, reference }: ManifestQuery): Promise<HeadAnswer> {
    return this.#parts.origin.head(upstream, reference, {
      signal: call.signal,
      urgency: new Urgency('demand'),
      accept: call.lines('accept'),
      followRedirects: true,
    });
  }

  /**
   * From whichever node has it, or reads it for all.
   * @param head the origin's answer to this requester.
   * @returns false when nothing was sent: the origin is to be read.
   */
  async #fromAnybody(call: Call, query: ManifestQuery, digest: Digest, head: HeadAnswer): Promise<boolean> {
    const { upstream } = query;
    if (head.status === 200) this.#learn(query, digest);
    const manifest = await this.#parts.shared.read(upstream, digest, head, call.signal);
    if (manifest === undefined) return false;
    const { bytes, mediaType, source } = manifest;
    this.#learnMembers(upstream, bytes);
    this.#send(call, query, { digest, mediaType, bytes, source });
    return true;
  }

  /** From the origin to the client, checked against its digest and kept. */
  async #fetch(call: Call, query: ManifestQuery): Promise<void> {
    const { upstream, reference } = query;
    const answer = await this.#getManifest(upstream, reference, {
      signal: call.signal,
      urgency: new Urgency('demand'),
      accept: call.lines('accept'),
    });
    const digest = digestOfManifest(query, answer);
    const mediaType = answer.header('content-type');
    this.#learn(query, digest);
    this.#learnMembers(upstream, answer.body);
    this.#parts.owners.admit(upstream.origin, digest);
    await this.#parts.content.keep(
      digest,
      mediaType,
      answer.body,
      createHash('sha256').update(answer.body).digest(),
    );
    this.#send(call, query, { digest, mediaType, bytes: answer.body, source: 'origin' });
  }

  #send(call: Call, { namespace }: ManifestQuery, manifest: CheckedManifest): void {
    const { metrics } = this.#parts;
    const { digest, mediaType, bytes, source } = manifest;
    const { length } = bytes;
    call.writeHead(200, blobHeaders({ digest, length, mediaType, acceptRanges: false, source, namespace }));
    metrics.traffic.served(source, call.isHead ? 0 : length);
    metrics.requested.inc({ client: call.client }, call.isHead ? 0 : length);
    resetWhenIdle(call.response, CLIENT_IDLE_TIMEOUT_MS, () => call.end('aborted'));
    call.response.end(call.isHead ? undefined : bytes);
  }

  /** @throws OriginRefusal, after the right that it takes back was forgotten. */
  async #getManifest(
    upstream: Upstream,
    reference: string,
    options: Parameters<OriginClient['getManifest']>[2],
  ): Promise<ManifestAnswer> {
    try {
      return await this.#parts.origin.getManifest(upstream, reference, options);
    } catch (error) {
      if (error instanceof OriginRefusal && (error.status === 401 || error.status === 403))
        this.#parts.gate.forget(upstream);
      throw error;
    }
  }

  /** The blobs and manifests that it names belong to its repository. */
  #learnMembers({ origin, repository }: Upstream, bytes: Uint8Array): void {
    const digests = manifestDescriptors(bytes).map((found) => found.digest);
    this.#parts.gate.learnMembers(origin, repository, digests);
  }

  #learn(query: ManifestQuery, digest: Digest): void {
    const { gate } = this.#parts;
    gate.learn(query.upstream, digest, 200);
    if (query.digest === null)
      gate.learnTag(query.upstream.origin, query.upstream.repository, query.reference, digest);
  }

  #relayHead(call: Call, head: HeadAnswer, query: ManifestQuery): void {
    const lines = [...head.rawHeaders];
    if (query.namespace !== undefined) lines.push('OCI-Namespace', query.namespace);
    if (head.status >= 400) call.end('refused');
    if (head.status === 401 || head.status === 403) this.#parts.gate.forget(query.upstream);
    call.writeHead(head.status, lines);
    call.response.end();
  }

  async #whileOriginIsDown(call: Call, query: ManifestQuery, error: unknown): Promise<void> {
    if (!isOriginDown(error)) throw error;
    const digest = this.#parts.gate.lastDigestOfTag(query.upstream, query.reference);
    if (digest === undefined || !this.#isHere(digest)) {
      throw new DamselflyError(
        'rights-unknown',
        `${query.upstream.origin} cannot be asked what the tag ${query.reference} means now: ${error.message}`,
        {
          facts: {
            origin: query.upstream.origin,
            repository: query.upstream.repository,
            because: error.code,
          },
          cause: error,
        },
      );
    }
    await this.#parts.blobs.handle(
      call,
      { upstream: query.upstream, digest, namespace: query.namespace },
      { ignoreRange: true },
    );
  }
}

/** The bytes have matched the digest. */
interface CheckedManifest {
  readonly digest: Digest;
  readonly mediaType: string | undefined;
  readonly bytes: Uint8Array;
  readonly source: SourceName;
}

/** @throws DamselflyError digest-mismatch when the bytes are not what was asked for, or not what the origin said they are. */
function digestOfManifest(query: ManifestQuery, answer: ManifestAnswer): Digest {
  const said = query.digest ?? parseDigest(answer.header('docker-content-digest') ?? '');
  const digest = checkedDigest(answer.body, said);
  if (digest === null) {
    throw new DamselflyError(
      'digest-mismatch',
      `The manifest that arrived for ${query.reference} does not match ${said}`,
      {
        facts: { origin: query.upstream.origin, repository: query.upstream.repository },
      },
    );
  }
  return digest;
}
