import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Digest, digestHex } from '../../../src/blob/digest.ts';
import type { OciImage } from '../../support/oci.ts';
import type { Registry } from './registry.ts';

/** A blob to upload: its bytes, or a file that holds them. */
export interface PushBlob {
  readonly digest: string;
  readonly content: Uint8Array | { readonly file: string };
}

export interface PushOptions {
  readonly registry: Registry;
  readonly repository: string;
  /** Value of the Authorization header. */
  readonly authorization?: string;
}

/** Uploads a blob in one PUT (distribution specification, "Pushing a blob monolithically": POST, then PUT). */
export async function pushBlob(options: PushOptions, blob: PushBlob): Promise<void> {
  const { registry, repository } = options;
  const headers = authorizationOf(options);
  const begun = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: 'POST', headers });
  await expectStatus(begun, 202, 'beginning an upload');
  const location = new URL(begun.headers.get('location') ?? '', registry.url);
  location.searchParams.set('digest', blob.digest);
  const { body, length } = await bodyOf(blob);
  const put = await fetch(location, {
    method: 'PUT',
    headers: { ...headers, 'content-type': 'application/octet-stream', 'content-length': String(length) },
    body,
    duplex: 'half',
  } as RequestInit);
  await expectStatus(put, 201, `uploading ${blob.digest}`);
}

export async function pushManifest(
  options: PushOptions,
  manifest: { readonly bytes: Uint8Array; readonly mediaType: string; readonly reference: string },
): Promise<void> {
  const { registry, repository } = options;
  const response = await fetch(`${registry.url}/v2/${repository}/manifests/${manifest.reference}`, {
    method: 'PUT',
    headers: { ...authorizationOf(options), 'content-type': manifest.mediaType },
    body: Buffer.from(manifest.bytes),
  });
  await expectStatus(response, 201, `uploading the manifest ${manifest.reference}`);
}

/** Uploads every blob and manifest of an image, and names it. */
export async function pushImage(options: PushOptions, image: OciImage, tag: string): Promise<void> {
  const fileOf = (digest: Digest): string => join(image.layout, 'blobs', 'sha256', digestHex(digest));
  const pushed = new Set<Digest>();
  for (const { descriptor, config, layers } of image.manifests) {
    for (const { digest } of [config, ...layers]) {
      if (!pushed.has(digest)) await pushBlob(options, { digest, content: { file: fileOf(digest) } });
      pushed.add(digest);
    }
    const bytes = await readFile(fileOf(descriptor.digest));
    await pushManifest(options, { bytes, mediaType: descriptor.mediaType, reference: descriptor.digest });
  }
  const bytes = await readFile(fileOf(image.root.digest));
  await pushManifest(options, { bytes, mediaType: image.root.mediaType, reference: tag });
}

function authorizationOf(options: PushOptions): Record<string, string> {
  return options.authorization === undefined ? {} : { authorization: options.authorization };
}

async function bodyOf(blob: PushBlob): Promise<{ body: RequestInit['body']; length: number }> {
  const { content } = blob;
  if (content instanceof Uint8Array) return { body: Buffer.from(content), length: content.length };
  const { size } = await stat(content.file);
  return { body: Readable.toWeb(createReadStream(content.file)) as ReadableStream, length: size };
}

async function expectStatus(response: Response, status: number, what: string): Promise<void> {
  const body = await response.text();
  if (response.status !== status) throw new Error(`${what}: status ${response.status}\n${body}`);
}
