import { type Digest, parseDigest } from '../blob/digest.ts';

/** What a manifest says about one blob or manifest that it names. Its word only: not verified, size included. */
export interface Descriptor {
  readonly digest: Digest;
  /** Bytes; undefined when it is missing or no number. */
  readonly size: number | undefined;
  readonly mediaType: string | undefined;
  readonly role: 'config' | 'layer' | 'manifest';
  /** Of a manifest in an index. */
  readonly platform: Platform | undefined;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
  /** `os.features`; Nydus images in an index of both kinds are told by it. */
  readonly features: readonly string[];
}

/** Registries take manifests up to 4 MiB (distribution-spec, "Pushing Manifests"). */
export const MAX_MANIFEST_BYTES = 4 << 20;
/** No real image comes near it; what lies behind is asked for one by one. */
const MAX_DESCRIPTORS = 2048;

/** What is read of a manifest and of a descriptor. */
const MANIFEST_FIELDS: readonly string[] = ['config', 'layers', 'manifests'];
const DESCRIPTOR_FIELDS: readonly string[] = ['digest', 'urls', 'mediaType'];

/**
 * The blobs and manifests that belong to the repository of an OCI or Docker image manifest or index: config and layers
 * (Nydus bootstraps and blobs among them), or the manifests of an index. What cannot be understood is left out.
 *
 * Rights hang on the answer, and whoever may push to one repository writes it freely: so only what a registry checks
 * to be there when it takes a manifest counts. Left out are
 *  - layers with `urls` and foreign ones, the `subject` (distribution-spec, "Pushing Manifests with Subject"), digests
 *    in annotations, and the fields of other or obsolete kinds of manifest (`fsLayers`, `blobs`);
 *  - documents that are index and image at once (CVE-2021-41190);
 *  - whatever has a field that differs from ours in case only: Go's decoder, in most registries, takes both for one.
 */
export function manifestDescriptors(bytes: Uint8Array): Descriptor[] {
  const manifest = parse(bytes);
  if (manifest === undefined || hasLookalike(manifest, MANIFEST_FIELDS)) return [];
  const isIndex = manifest.manifests !== undefined;
  if (isIndex && (manifest.layers !== undefined || manifest.config !== undefined)) return [];
  const found = new Map<Digest, Descriptor>();
  const add = (item: unknown, role: Descriptor['role']) => {
    if (found.size >= MAX_DESCRIPTORS) return;
    const descriptor = readDescriptor(item, role);
    if (descriptor !== undefined && !found.has(descriptor.digest)) found.set(descriptor.digest, descriptor);
  };
  add(manifest.config, 'config');
  for (const item of listOf(manifest.layers)) add(item, 'layer');
  for (const item of listOf(manifest.manifests)) add(item, 'manifest');
  return [...found.values()];
}

type JsonObject = Readonly<Record<string, unknown>>;

function parse(bytes: Uint8Array): JsonObject | undefined {
  if (bytes.length > MAX_MANIFEST_BYTES) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function hasLookalike(object: JsonObject, fields: readonly string[]): boolean {
  const folded = new Set(fields.map(foldCase));
  return Object.keys(object).some((key) => !fields.includes(key) && folded.has(foldCase(key)));
}

/** As Go folds field names: both ways, since the long s and the Kelvin sign have a simple case in one direction only. */
function foldCase(text: string): string {
  return text.toUpperCase().toLowerCase();
}

function readDescriptor(item: unknown, role: Descriptor['role']): Descriptor | undefined {
  if (!isObject(item) || typeof item.digest !== 'string' || hasLookalike(item, DESCRIPTOR_FIELDS))
    return undefined;
  const digest = parseDigest(item.digest);
  const mediaType = typeof item.mediaType === 'string' ? item.mediaType : undefined;
  if (digest === null || hasUrls(item) || isForeign(mediaType)) return undefined;
  return {
    digest,
    size: Number.isSafeInteger(item.size) && Number(item.size) >= 0 ? Number(item.size) : undefined,
    mediaType,
    role,
    platform: readPlatform(item.platform),
  };
}

function hasUrls({ urls }: JsonObject): boolean {
  return Array.isArray(urls) ? urls.length > 0 : urls !== undefined && urls !== null;
}

function isForeign(mediaType: string | undefined): boolean {
  return mediaType !== undefined && /foreign|nondistributable/i.test(mediaType);
}

function readPlatform(value: unknown): Platform | undefined {
  if (!isObject(value) || typeof value.os !== 'string' || typeof value.architecture !== 'string')
    return undefined;
  const variant = typeof value.variant === 'string' && value.variant !== '' ? value.variant : undefined;
  const features = listOf(value['os.features']).filter((item) => typeof item === 'string');
  return { os: value.os, architecture: value.architecture, variant, features };
}
