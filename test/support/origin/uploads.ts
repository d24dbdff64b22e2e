import { randomUUID } from 'node:crypto';
import { digestOf, parseDigest } from '../../../src/blob/digest.ts';
import type { Address } from './address.ts';
import type { Exchange } from './exchange.ts';
import type { Repository } from './repository.ts';

const MAX_UPLOAD_BYTES = 1 << 30;

/** Pushing: uploads in one piece, in chunks, and mounts from another repository. Uploads are kept in memory. */
export class Uploads {
  readonly #open = new Map<string, Buffer[]>();
  readonly #base: () => string;

  /** @param base what stands before the paths of Location lines: nothing, or scheme, host and port. */
  constructor(base: () => string) {
    this.#base = base;
  }

  async answer(
    exchange: Exchange,
    address: Address,
    repository: Repository,
    repositoryOf: (name: string) => Repository | undefined,
  ): Promise<void> {
    const { method } = exchange.record;
    const id = address.reference ?? '';
    const here = (upload: string) => `${this.#base()}/v2/${repository.name}/blobs/uploads/${upload}`;
    if (method === 'POST' && id === '') {
      const mount = parseDigest(exchange.query.get('mount') ?? '');
      const source = repositoryOf(exchange.query.get('from') ?? '');
      const mounted = mount === null ? undefined : source?.blobs.get(mount);
      if (mounted !== undefined)
        return created(exchange, repository.addContent(mounted.content).path, mounted.digest);
      if (exchange.query.has('digest')) return this.#finish(exchange, repository, []);
      const upload = randomUUID();
      this.#open.set(upload, []);
      return exchange.answer(
        202,
        { Location: here(upload), Range: '0-0', 'Docker-Upload-UUID': upload },
        0,
        [],
      );
    }
    const parts = this.#open.get(id);
    if (parts === undefined) return exchange.error(404, 'BLOB_UPLOAD_UNKNOWN', 'no such upload');
    if (method === 'PATCH') parts.push(await exchange.body(MAX_UPLOAD_BYTES));
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    const progress = { Location: here(id), Range: `0-${Math.max(0, bytes - 1)}`, 'Docker-Upload-UUID': id };
    if (method === 'PATCH') return exchange.answer(202, progress, 0, []);
    if (method === 'GET') return exchange.answer(204, progress, 0, []);
    if (method !== 'PUT' && method !== 'DELETE')
      return exchange.error(405, 'UNSUPPORTED', 'not on an upload');
    this.#open.delete(id);
    if (method === 'DELETE') return exchange.answer(204, {}, 0, []);
    return this.#finish(exchange, repository, parts);
  }

  async #finish(exchange: Exchange, repository: Repository, parts: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.concat([...parts, await exchange.body(MAX_UPLOAD_BYTES)]);
    if (digestOf(bytes) !== exchange.query.get('digest')) {
      return exchange.error(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    }
    const blob = repository.addBlob(bytes);
    return created(exchange, blob.path, blob.digest);
  }
}

function created(exchange: Exchange, path: string, digest: string): Promise<void> {
  return exchange.answer(201, { Location: path, 'Docker-Content-Digest': digest }, 0, []);
}
