import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { answerContent } from './bodies.ts';
import type { Exchange } from './exchange.ts';
import type { Repository, TestBlob } from './repository.ts';

/** Blob requests are answered with a redirect to a signed URL, as registries in front of object stores do. */
export interface RedirectOptions {
  readonly status: 301 | 302 | 303 | 307 | 308;
  /** 'absolute': the CDN listener. 'relative': a path on the registry itself. 'loop': back to itself, for ever. */
  readonly location?: 'absolute' | 'relative' | 'loop';
  /** Default 10 minutes. */
  readonly lifetimeMs?: number;
  /** A signed URL is refused after so many requests. */
  readonly maxUses?: number;
  /** Answer to an expired, used up or forged URL; default 403, as S3. */
  readonly refusal?: 401 | 403 | 404;
  /** Default: signed URLs are good for the method that asked. 'GET': HEAD on one is refused, as S3 does. */
  readonly methods?: 'any' | 'GET';
  /** Default true; false: HEAD of a blob is answered by the registry itself. */
  readonly redirectHead?: boolean;
  /** Default true: the CDN answers 400 to a request that carries Authorization beside the signature, as S3 does. */
  readonly refuseAuthorization?: boolean;
}

/** Makes and checks signed URLs. */
export class Redirects {
  readonly #key = randomBytes(32);
  readonly #uses = new Map<string, number>();

  /** Signed URLs given out so far stop working. */
  expireAll(): void {
    this.#key.set(randomBytes(32));
  }

  /** @returns path and query of a signed URL. */
  sign(repository: string, blob: TestBlob, options: RedirectOptions): string {
    const expires = Math.ceil(performance.now() + (options.lifetimeMs ?? 600_000));
    const path = `/cdn/${repository}/${blob.digest}`;
    const nonce = randomBytes(6).toString('hex');
    return `${path}?X-Expires=${expires}&X-Nonce=${nonce}&X-Signature=${this.#signature(path, String(expires), nonce)}`;
  }

  async answer(
    exchange: Exchange,
    repository: Repository | undefined,
    options: RedirectOptions,
  ): Promise<void> {
    const { record, query } = exchange;
    if (record.authorization !== 'none' && (options.refuseAuthorization ?? options.location !== 'relative')) {
      return xmlError(exchange, 400, 'InvalidArgument', 'Only one auth mechanism allowed');
    }
    const refusal = options.refusal ?? 403;
    const signature = query.get('X-Signature') ?? '';
    const expires = query.get('X-Expires') ?? '';
    const right = this.#signature(record.path, expires, query.get('X-Nonce') ?? '');
    if (signature.length !== right.length || !timingSafeEqual(Buffer.from(signature), Buffer.from(right))) {
      return xmlError(exchange, refusal, 'SignatureDoesNotMatch', 'The signature does not match');
    }
    if (options.methods === 'GET' && record.method !== 'GET') {
      return xmlError(exchange, refusal, 'SignatureDoesNotMatch', 'The signature is for GET');
    }
    const uses = (this.#uses.get(signature) ?? 0) + 1;
    this.#uses.set(signature, uses);
    if (Number(expires) <= performance.now() || uses > (options.maxUses ?? Number.POSITIVE_INFINITY)) {
      return xmlError(exchange, refusal, 'AccessDenied', 'Request has expired');
    }
    const blob = record.digest === undefined ? undefined : repository?.blobs.get(record.digest);
    if (blob === undefined) return xmlError(exchange, 404, 'NoSuchKey', 'No such key');
    return answerContent(exchange, blob.content, { 'Content-Type': 'application/octet-stream' });
  }

  #signature(path: string, expires: string, nonce: string): string {
    return createHmac('sha256', this.#key).update(`${path}\n${expires}\n${nonce}`).digest('hex');
  }
}

function xmlError(exchange: Exchange, status: number, code: string, message: string): Promise<void> {
  return exchange.whole(
    status,
    { 'Content-Type': 'application/xml' },
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  );
}
