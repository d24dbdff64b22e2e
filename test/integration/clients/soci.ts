import type { Digest } from '../../../src/blob/digest.ts';
import { parseContentRange } from '../../support/byteranges.ts';
import { answerChallenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { type Fields, goRequest } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

const HEADER_TIMEOUT_MS = 3_000;
const USER_AGENT = 'soci-snapshotter/0.15.0';

/** SOCI with a `resolver.host.*.mirrors` entry: no `ns`, no headers of its own (clients.md 6.2). */
export class Soci implements Disposable {
  readonly #connections: Connections;
  readonly #host: string;
  readonly #login: Login | undefined;
  readonly #repository: string;
  #authorization: string | undefined;

  constructor(options: { place: Place; host: string; repository: string; login?: Login | undefined }) {
    this.#connections = new Connections(options.place);
    this.#host = options.host;
    this.#repository = options.repository;
    this.#login = options.login;
  }

  /** At mount: `bytes=0-1` finds the URL that stays pinned. @returns the size, which is in the Content-Range. */
  async probe(digest: Digest): Promise<number> {
    const answer = await this.#get(digest, { Range: 'bytes=0-1', 'Accept-Encoding': 'identity' });
    demand(answer.status === 206, `the probe: ${answer.status}`, answer.status);
    const size = parseContentRange(answer.header('content-range'))?.size;
    demand(size !== undefined, 'the probe does not tell the size');
    return size;
  }

  /** `HEAD`, when the labels do not tell the size. */
  async size(digest: Digest): Promise<number> {
    const answer = await this.#ask('HEAD', digest, {});
    demand(answer.status === 200, `HEAD: ${answer.status}`, answer.status);
    const length = answer.header('content-length');
    demand(length !== undefined, 'HEAD without a length');
    return Number(length);
  }

  /** One span of a file read. */
  async span(digest: Digest, start: number, end: number): Promise<Buffer> {
    const fields = { Range: `bytes=${start}-${end - 1}`, 'Accept-Encoding': 'identity' };
    const answer = await this.#get(digest, fields);
    // 200 is the whole blob, read and kept: what lazy loading is there to avoid.
    demand(answer.status === 206, `a span: ${answer.status}`, answer.status);
    demand(parseContentRange(answer.header('content-range'))?.span.start === start, 'another span');
    demand(answer.body.length === end - start && answer.end === 'whole', 'not the whole span');
    return answer.body;
  }

  /** Parallel pull: Accept-Ranges on the probe, or there is none; Accept-Ranges on each chunk, or it fails. */
  async parallel(digest: Digest, chunkBytes: number, lanes = 4): Promise<Buffer> {
    const probe = await this.#get(digest, { Range: 'bytes=0-1' });
    demand(probe.header('accept-ranges') === 'bytes', 'no Accept-Ranges: one GET for the whole');
    const size = parseContentRange(probe.header('content-range'))?.size ?? 0;
    const chunks: Buffer[] = [];
    const queue = Array.from({ length: Math.ceil(size / chunkBytes) }, (_, i) => i * chunkBytes).entries();
    const lane = async (): Promise<void> => {
      for (const [index, start] of queue) {
        const end = Math.min(start + chunkBytes, size);
        const answer = await this.#get(digest, { Range: `bytes=${start}-${end - 1}` });
        demand(answer.status === 206, `a chunk: ${answer.status}`, answer.status);
        demand(answer.header('accept-ranges') === 'bytes', 'a chunk without Accept-Ranges');
        chunks[index] = answer.body;
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return Buffer.concat(chunks);
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  #get(digest: Digest, fields: Fields): Promise<WireAnswer> {
    return this.#ask('GET', digest, fields);
  }

  async #ask(method: string, digest: Digest, fields: Fields): Promise<WireAnswer> {
    const send = (): Promise<WireAnswer> => {
      const target = `/v2/${this.#repository}/blobs/${digest}`;
      const all = { ...fields, Authorization: this.#authorization };
      const request = goRequest({ method, target, host: this.#host, userAgent: USER_AGENT, fields: all });
      return this.#connections.ask(request, { method, idleMs: HEADER_TIMEOUT_MS });
    };
    const answer = await send();
    if (answer.status !== 401) return answer;
    const challenge = parseChallenge(answer.header('www-authenticate'));
    demand(challenge !== undefined, '401 without a challenge', 401);
    const scope = `repository:${this.#repository}:pull`;
    this.#authorization = await answerChallenge(challenge, scope, this.#login);
    return send();
  }
}
