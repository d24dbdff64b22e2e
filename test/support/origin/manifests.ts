import { parseDigest } from '../../../src/blob/digest.ts';
import type { Address } from './address.ts';
import type { Exchange } from './exchange.ts';
import { headerValues } from './log.ts';
import { OCI_INDEX, type Repository, type TestManifest } from './repository.ts';

const MAX_MANIFEST_BYTES = 4 << 20;

export async function answerManifest(
  exchange: Exchange,
  address: Address,
  repository: Repository,
): Promise<void> {
  const { method } = exchange.record;
  const reference = address.reference ?? '';
  if (method === 'PUT') return putManifest(exchange, reference, repository);
  const manifest = repository.manifest(reference);
  if (manifest === undefined) return exchange.error(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  if (method === 'DELETE') {
    if (!repository.tags.delete(reference)) repository.manifests.delete(manifest.digest);
    return exchange.answer(202, {}, 0, []);
  }
  if (!accepts(exchange.record.rawHeaders, manifest.mediaType)) {
    // As distribution answers: what is there is not what the client can read.
    return exchange.error(404, 'MANIFEST_UNKNOWN', 'accept header does not support this manifest');
  }
  const headers = {
    'Content-Type': manifest.mediaType,
    'Docker-Content-Digest': manifest.digest,
    'Docker-Distribution-Api-Version': 'registry/2.0',
    ETag: `"${manifest.digest}"`,
  };
  if (exchange.request.headers['if-none-match'] === headers.ETag) return exchange.answer(304, headers, 0, []);
  return exchange.whole(200, headers, manifest.bytes);
}

/** A request without Accept takes anything; several Accept lines add up. */
function accepts(rawHeaders: readonly string[], mediaType: string): boolean {
  const ranges = headerValues(rawHeaders, 'accept')
    .flatMap((line) => line.split(','))
    .map((range) => (range.split(';')[0] ?? '').trim().toLowerCase())
    .filter((range) => range !== '');
  const family = `${mediaType.split('/')[0]}/*`;
  return ranges.length === 0 || ranges.some((range) => [mediaType, family, '*/*'].includes(range));
}

async function putManifest(exchange: Exchange, reference: string, repository: Repository): Promise<void> {
  const bytes = await exchange.body(MAX_MANIFEST_BYTES);
  const mediaType = exchange.request.headers['content-type'];
  const isDigest = reference.includes(':');
  let added: TestManifest;
  try {
    added = repository.addManifest(bytes, {
      ...(mediaType === undefined ? {} : { mediaType }),
      ...(isDigest ? {} : { tag: reference }),
    });
  } catch {
    return exchange.error(400, 'MANIFEST_INVALID', 'not JSON');
  }
  if (isDigest && added.digest !== reference) {
    repository.manifests.delete(added.digest);
    return exchange.error(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
  }
  const subject = subjectOf(added);
  return exchange.answer(
    201,
    { Location: added.path, 'Docker-Content-Digest': added.digest, 'OCI-Subject': subject },
    0,
    [],
  );
}

interface ManifestFields {
  readonly subject?: { readonly digest?: string };
  readonly artifactType?: string;
  readonly config?: { readonly mediaType?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

function fieldsOf(manifest: TestManifest): ManifestFields {
  return JSON.parse(Buffer.from(manifest.bytes).toString('utf8')) as ManifestFields;
}

function subjectOf(manifest: TestManifest): string | undefined {
  return fieldsOf(manifest).subject?.digest;
}

/** An image index of what names this digest as its subject; empty when nothing does. */
export function answerReferrers(exchange: Exchange, address: Address, repository: Repository): Promise<void> {
  if (parseDigest(address.reference ?? '') === null)
    return exchange.error(400, 'DIGEST_INVALID', 'not a digest');
  const wanted = exchange.query.get('artifactType');
  const referrers = [...repository.manifests.values()]
    .filter((manifest) => subjectOf(manifest) === address.reference)
    .map((manifest) => {
      const { artifactType, config, annotations } = fieldsOf(manifest);
      const { mediaType, digest, size } = manifest;
      return { mediaType, digest, size, artifactType: artifactType ?? config?.mediaType, annotations };
    })
    .filter((referrer) => wanted === null || referrer.artifactType === wanted);
  return exchange.json(
    200,
    { schemaVersion: 2, mediaType: OCI_INDEX, manifests: referrers },
    { 'Content-Type': OCI_INDEX, ...(wanted === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }) },
  );
}

/** Tags in lexical order, in pages of `n` with a Link to the next. */
export function answerTags(exchange: Exchange, repository: Repository): Promise<void> {
  const last = exchange.query.get('last') ?? '';
  const n = exchange.query.has('n') ? Number(exchange.query.get('n')) : Number.POSITIVE_INFINITY;
  const after = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const tags = after.slice(0, n);
  const more = tags.length < after.length && tags.length > 0;
  const next = `</v2/${repository.name}/tags/list?last=${encodeURIComponent(tags.at(-1) ?? '')}&n=${n}>; rel="next"`;
  return exchange.json(200, { name: repository.name, tags }, more ? { Link: next } : {});
}
