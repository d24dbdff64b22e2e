import { Credential } from '../../src/blob/credential.ts';
import type { Digest } from '../../src/blob/digest.ts';
import type { OpenedRead } from '../../src/blob/source.ts';
import type { Span } from '../../src/blob/span.ts';
import type { Upstream } from '../../src/blob/upstream.ts';
import { Urgency, type UrgencyLevel } from '../../src/blob/urgency.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { createOrigin, type Origin, type OriginOptions } from '../../src/origin/origin.ts';
import {
  type DirectoryOptions,
  OriginDirectory,
  type OriginEntry,
} from '../../src/origin/origin-directory.ts';
import type { TestOrigin } from '../support/origin.ts';

export const REPOSITORY = 'lab/image';

export function entry(host: string, options: Partial<OriginEntry> = {}): OriginEntry {
  return { host, names: [], insecure: false, share: true, ...options };
}

/** No signal that anybody aborts. */
export const NEVER: AbortSignal = new AbortController().signal;

export interface Rig extends Origin {
  readonly directory: OriginDirectory;
  readonly metrics: Metrics;
  readonly upstream: Upstream;
  /** The same, as somebody. */
  as(authorization: string | undefined, repository?: string): Upstream;
  manifests: Upstream;
  open(digest: Digest, span: Span, options?: Partial<OpenSettings>): Promise<OpenedRead>;
  /** The bytes of a span, whole. */
  read(digest: Digest, span: Span, options?: Partial<OpenSettings>): Promise<Buffer>;
  value(metric: string, labels?: Record<string, string>): Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface OpenSettings {
  readonly size: number | undefined;
  readonly signal: AbortSignal;
  readonly urgency: UrgencyLevel;
  readonly upstream: Upstream;
}

/** The origin module against a test origin whose every port is listed; retries do not wait. */
export function rig(
  origin: TestOrigin,
  options: Partial<OriginOptions> & { readonly listing?: Partial<DirectoryOptions> } = {},
): Rig {
  const tokens = new URL(origin.tokenUrl).host;
  const hosts = new Set([new URL(origin.cdnUrl).host, tokens, origin.host]);
  const plain = origin.url.startsWith('http:');
  const directory = new OriginDirectory({
    origins: [...hosts].map((host) => entry(host, { insecure: plain })),
    allowOrigins: 'any',
    ...options.listing,
  });
  const metrics = new Metrics();
  const parts = createOrigin({
    metrics,
    proxyForUrl: () => undefined,
    ...options,
    directory,
    retry: { sleep: async () => undefined, ...options.retry },
  });
  const as = (authorization: string | undefined, repository = REPOSITORY): Upstream => ({
    origin: origin.id,
    repository,
    kind: 'blob',
    credential: Credential.of(authorization),
  });
  const open: Rig['open'] = (digest, span, settings = {}) =>
    parts.source.open({ digest, size: settings.size }, span, {
      signal: settings.signal ?? NEVER,
      urgency: new Urgency(settings.urgency ?? 'demand'),
      upstream: settings.upstream ?? as(undefined),
    });
  return {
    ...parts,
    directory,
    metrics,
    upstream: as(undefined),
    manifests: { ...as(undefined), kind: 'manifest' },
    as,
    open,
    read: async (digest, span, settings) => bytesOf(await open(digest, span, settings)),
    value: async (metric, labels = {}) => {
      const found = await metrics.registry.getSingleMetric(metric)?.get();
      const wanted = Object.entries(labels);
      return (found?.values ?? [])
        .filter((value) =>
          wanted.every(([name, label]) => (value.labels as Record<string, unknown>)[name] === label),
        )
        .reduce((sum, { value }) => sum + value, 0);
    },
    [Symbol.asyncDispose]: parts.close,
  };
}

export async function bytesOf(read: OpenedRead): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of read.chunks) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

export const demand = (): { signal: AbortSignal; urgency: Urgency } => ({
  signal: NEVER,
  urgency: new Urgency('demand'),
});
