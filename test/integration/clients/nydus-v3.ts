import type { Digest } from '../../../src/blob/digest.ts';
import { answerChallenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { head, linesOf } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

/** Of the whole request with its body. */
const REQUEST_TIMEOUT_MS = 30_000;

/** nydus-accessor of the branch v3: a forward proxy and nothing behind it (clients.md 3.9). */
export class NydusV3 implements Disposable {
  readonly #connections: Connections;
  readonly #registryUrl: string;
  readonly #repository: string;
  readonly #login: Login | undefined;
  #authorization: string | undefined;

  constructor(options: { place: Place; registryUrl: string; repository: string; login?: Login | undefined }) {
    this.#connections = new Connections(options.place);
    this.#registryUrl = options.registryUrl;
    this.#repository = options.repository;
    this.#login = options.login;
  }

  /** HEAD needs a length. */
  async size(digest: Digest): Promise<number> {
    const answer = await this.#ask('HEAD', digest, undefined, 6);
    demand(answer.status === 200, `HEAD: ${answer.status}`, answer.status);
    const length = answer.header('content-length');
    demand(length !== undefined, 'HEAD without a length');
    return Number(length);
  }

  /** A compressed group. What is too long is cut, so that a whole body would be taken for any group. */
  async group(digest: Digest, start: number, end: number, priority: 3 | 6 = 6): Promise<Buffer> {
    const answer = await this.#ask('GET', digest, `bytes=${start}-${end - 1}`, priority);
    demand(answer.status < 300, `a group: ${answer.status}`, answer.status);
    const bytes = answer.body.subarray(0, end - start);
    demand(bytes.length === end - start, 'a short group');
    return bytes;
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  async #ask(
    method: string,
    digest: Digest,
    range: string | undefined,
    priority: 3 | 6,
  ): Promise<WireAnswer> {
    const send = (): Promise<WireAnswer> => {
      const lines = linesOf({
        range,
        authorization: this.#authorization,
        'x-dragonfly-priority': String(priority),
        'x-dragonfly-use-p2p': 'true',
        accept: '*/*',
        host: new URL(this.#registryUrl).host,
      });
      const url = `${this.#registryUrl}/v2/${this.#repository}/blobs/${digest}`;
      return this.#connections.ask(head(method, url, lines), { method, idleMs: REQUEST_TIMEOUT_MS });
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
