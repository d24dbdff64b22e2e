import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import type { AccessRule, Readers } from './auth.ts';
import { type Content, fileContent, fileDigest, memoryContent, seededContent } from './content.ts';

export interface RepositoryOptions {
  /** Default 'everyone'. */
  readonly readers?: Readers;
  /** Who may push; default 'everyone' on an anonymous origin's terms, else as `readers`. */
  readonly writers?: Readers;
}

export interface TestBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly content: Content;
  /** `/v2/<repository>/blobs/<digest>`. */
  readonly path: string;
}

export interface TestManifest {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  /** `/v2/<repository>/manifests/<digest>`. */
  readonly path: string;
}

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';

/** One repository of a test origin: its own blobs, manifests, tags and users. */
export class Repository {
  readonly name: string;
  readonly rule: AccessRule;
  readonly blobs = new Map<Digest, TestBlob>();
  readonly manifests = new Map<Digest, TestManifest>();
  readonly tags = new Map<string, Digest>();

  constructor(name: string, options: RepositoryOptions = {}) {
    this.name = name;
    const readers = options.readers ?? 'everyone';
    this.rule = { readers, writers: options.writers ?? readers };
  }

  /** Bytes at hand, or a seeded blob that is generated while it is sent (no size is too big). */
  addBlob(blob: Uint8Array | { readonly size: number; readonly seed: number | string }): TestBlob {
    return this.addContent(
      blob instanceof Uint8Array ? memoryContent(blob) : seededContent(blob.size, blob.seed),
    );
  }

  async addFile(path: string): Promise<TestBlob> {
    return this.addContent(fileContent(path, await fileDigest(path)));
  }

  addContent(content: Content): TestBlob {
    const { digest, size } = content;
    const known = this.blobs.get(digest);
    if (known !== undefined) return known;
    const blob = { digest, size, content, path: `/v2/${this.name}/blobs/${digest}` };
    this.blobs.set(digest, blob);
    return blob;
  }

  /** @param manifest sent byte for byte when bytes, else its JSON. */
  addManifest(
    manifest: Uint8Array | object,
    options: { readonly mediaType?: string; readonly tag?: string } = {},
  ): TestManifest {
    const bytes = manifest instanceof Uint8Array ? manifest : Buffer.from(JSON.stringify(manifest));
    const mediaType = options.mediaType ?? mediaTypeOf(bytes);
    const digest = digestOf(bytes);
    const path = `/v2/${this.name}/manifests/${digest}`;
    const added = { digest, size: bytes.length, mediaType, bytes, path };
    this.manifests.set(digest, added);
    if (options.tag !== undefined) this.tags.set(options.tag, digest);
    return added;
  }

  /** @param reference a tag or a digest. */
  manifest(reference: string): TestManifest | undefined {
    return this.manifests.get(this.tags.get(reference) ?? (reference as Digest));
  }

  async close(): Promise<void> {
    for (const blob of this.blobs.values()) await blob.content.close();
  }
}

function mediaTypeOf(bytes: Uint8Array): string {
  const parsed: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
  const named = (parsed as { mediaType?: unknown }).mediaType;
  return typeof named === 'string' ? named : OCI_MANIFEST;
}
