import {
  type Descriptor,
  MAX_MANIFEST_BYTES,
  manifestDescriptors,
} from '../../access/manifest-descriptors.ts';
import { describePlatform, fittingManifests, parsePlatform } from '../../admin/platform.ts';
import { checkedDigest, type Digest, parseDigest } from '../../blob/digest.ts';
import type { OriginId } from '../../blob/upstream.ts';
import { DamselflyError } from '../../errors.ts';
import { isLoopbackHost } from '../../origin/address-rule.ts';
import type { OriginDirectory } from '../../origin/origin-directory.ts';
import { hostOf } from '../../origin/proxy-env.ts';
import { readBody } from '../../origin/reply.ts';
import { UsageError } from '../failure.ts';
import { formatBytes } from '../quantity.ts';
import { OriginSaid, refusalOf } from './answers.ts';
import type { Fetcher } from './fetcher.ts';
import type { ImageTarget, RegistryTarget } from './target.ts';

const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].flatMap((type) => ['Accept', type]);

/** How registries answer when a layer's digest is asked for as a manifest: 404, and 500 from docker's own (2.8). */
const NO_MANIFEST: ReadonlySet<number> = new Set([404, 500]);

/** The origin of an `oci://` reference: https, or http where the configuration says so and, as docker does it, on loopback. */
export function originOf(target: ImageTarget, directory: OriginDirectory): OriginId {
  const origin = directory.resolve(target.host);
  return isLoopbackHost(hostOf(new URL(origin))) ? (`http://${target.host}` as OriginId) : origin;
}

/**
 * The one layer that an `oci://` reference means: the layer of that digest, or the only layer of an image.
 * @throws UsageError that lists them when there are several.
 */
export async function resolveLayer(
  fetcher: Fetcher,
  target: ImageTarget,
  origin: OriginId,
  signal: AbortSignal,
): Promise<RegistryTarget> {
  const at = { origin, repository: target.repository };
  const name = `oci://${target.host}/${target.repository}`;
  let parts = await readManifest(fetcher, at, target.reference, signal);
  if (parts === undefined) return blobTarget(at, target.reference as Digest);
  if (parts.some((part) => part.role === 'manifest'))
    parts = (await readManifest(fetcher, at, choosePlatform(parts, name), signal)) ?? [];
  const layers = parts.filter((part) => part.role === 'layer');
  const [only] = layers;
  if (only !== undefined && layers.length === 1) return blobTarget(at, only.digest);
  if (only === undefined) throw new UsageError(`the image has no layers; name a blob as ${name}@DIGEST`);
  const lines = layers.map(({ digest, size }) => {
    return `  ${name}@${digest}${size === undefined ? '' : `  ${formatBytes(size)}`}`;
  });
  throw new UsageError(`the image has ${layers.length} layers; name one of them:\n${lines.join('\n')}`);
}

function blobTarget(at: Pick<RegistryTarget, 'origin' | 'repository'>, digest: Digest): RegistryTarget {
  return { kind: 'registry', ...at, path: `/v2/${at.repository}/blobs/${digest}`, digest };
}

/** @returns undefined when a digest is none of a manifest: it is a layer's then. */
async function readManifest(
  fetcher: Fetcher,
  at: Pick<RegistryTarget, 'origin' | 'repository'>,
  reference: string,
  signal: AbortSignal,
): Promise<Descriptor[] | undefined> {
  const digest = parseDigest(reference);
  const path = `/v2/${at.repository}/manifests/${reference}`;
  const target: RegistryTarget = { kind: 'registry', ...at, path, digest: digest ?? undefined };
  const { host } = new URL(at.origin);
  // The node answers 502 for the 500: a layer's digest, which does not speak against the node.
  const { reply } = await fetcher.open(target, ACCEPT, signal, { keepNode: digest !== null });
  if (reply.status !== 200) {
    const refusal = await refusalOf(reply, target);
    if (NO_MANIFEST.has(reply.status) && digest !== null) return undefined;
    throw refusal instanceof OriginSaid ? OriginSaid.explain(refusal, host) : refusal;
  }
  const body = await readBody(reply.body, MAX_MANIFEST_BYTES);
  if (body === null)
    throw new DamselflyError(
      'origin-broken',
      `${host}: the manifest is longer than ${formatBytes(MAX_MANIFEST_BYTES)}`,
    );
  if (checkedDigest(body, digest) === null)
    throw new DamselflyError(
      'digest-mismatch',
      `${host} gave another manifest than ${reference}; its copy is damaged`,
    );
  return manifestDescriptors(body);
}

function choosePlatform(parts: readonly Descriptor[], name: string): Digest {
  const manifests = parts.filter((part) => part.role === 'manifest');
  const fitting = fittingManifests(manifests, parsePlatform(undefined));
  const [chosen] =
    manifests.length === 1 ? manifests : fitting.filter(({ platform }) => platform !== undefined);
  if (chosen !== undefined) return chosen.digest;
  const lines = manifests.map(({ digest, platform }) => `  ${name}@${digest}  ${describePlatform(platform)}`);
  throw new UsageError(
    `the image has nothing for this machine's platform; name one of its manifests:\n${lines.join('\n')}`,
  );
}
