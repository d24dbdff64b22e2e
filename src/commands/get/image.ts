import { manifestDescriptors } from '../../access/manifest-descriptors.ts';
import { checkedDigest, parseDigest } from '../../blob/digest.ts';
import type { OriginId } from '../../blob/upstream.ts';
import { DamselflyError } from '../../errors.ts';
import { discard, readBody } from '../../origin/reply.ts';
import type { Answer, Fetcher } from './fetcher.ts';
import type { ImageTarget, RegistryTarget } from './target.ts';

const MAX_MANIFEST_BYTES = 4 << 20;
const ACCEPT = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].flatMap((type) => ['Accept', type]);

/**
 * The one layer that an image reference means: the layer itself when the digest is that of a blob, else the only layer
 * of the manifest. @throws DamselflyError reference-malformed that lists the layers when there are several.
 */
export async function resolveLayer(
  fetcher: Fetcher,
  target: ImageTarget,
  signal: AbortSignal,
): Promise<RegistryTarget> {
  const registry = (folder: 'manifests' | 'blobs', reference: string): RegistryTarget => ({
    kind: 'registry',
    origin: `https://${hostOf(target.host)}` as OriginId,
    repository: target.repository,
    path: `/v2/${target.repository}/${folder}/${reference}`,
    digest: parseDigest(reference) ?? undefined,
  });
  const { reply } = await fetcher.open(registry('manifests', target.reference), ACCEPT, signal);
  if (reply.status === 404 && parseDigest(target.reference) !== null) {
    discard(reply.body);
    return registry('blobs', target.reference);
  }
  if (reply.status !== 200) throw refused(reply, `${target.host}/${target.repository}:${target.reference}`);
  const body = await readBody(reply.body, MAX_MANIFEST_BYTES);
  const name = `oci://${target.host}/${target.repository}`;
  if (body === null || checkedDigest(body, parseDigest(target.reference)) === null) {
    throw new DamselflyError(
      'digest-mismatch',
      `The manifest that came for ${name} is not the one that was asked for`,
    );
  }
  const found = manifestDescriptors(body);
  const layers = found.filter(({ role }) => role === 'layer');
  const [only] = layers;
  if (only !== undefined && layers.length === 1) return registry('blobs', only.digest);
  const choices = (layers.length > 0 ? layers : found).map(
    (one) => `  ${name}@${one.digest}  ${one.mediaType ?? ''}`,
  );
  throw new DamselflyError(
    'reference-malformed',
    `${name} has ${layers.length} layers; name one by its digest:\n${choices.join('\n')}`,
  );
}

export function refused(reply: Answer['reply'], what: string): DamselflyError {
  discard(reply.body);
  return new DamselflyError('origin-refused', `The origin answered ${reply.status} for ${what}`, {
    facts: { status: reply.status },
  });
}

function hostOf(host: string): string {
  return /^(?:index\.)?docker\.io$/i.test(host) ? 'registry-1.docker.io' : host;
}
