import { parseContentRange } from '../../support/byteranges.ts';
import { type HttpAnswer, httpGet } from '../../support/http-get.ts';
import { answerChallenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { head, linesOf } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

export interface OverlaybdOptions {
  /** `p2pConfig.address` without its scheme, host and port. */
  readonly prefix: string;
  readonly place: Place;
  readonly host: string;
  /** `https://registry/v2/<repo>/blobs/sha256:…`, as `repoBlobUrl` makes it. */
  readonly blobUrl: string;
  readonly repository: string;
  readonly login?: Login | undefined;
}

/** One layer of overlaybd-tcmu with `p2pConfig` (clients.md 6.3). */
export class OverlaybdLayer implements Disposable {
  readonly #options: OverlaybdOptions;
  readonly #connections: Connections;
  #target = '';
  #authorization: string | undefined;

  constructor(options: OverlaybdOptions) {
    this.#options = options;
    this.#connections = new Connections(options.place);
  }

  /** Three requests past the proxy: where the bytes are, and with which token. */
  async findUrl(): Promise<void> {
    const { blobUrl, login, repository } = this.#options;
    const probe = await httpGet(blobUrl, { headers: { Range: 'bytes=0-0' }, abortAfterBytes: 1 });
    const challenge = parseChallenge(probe.header('www-authenticate'));
    if (challenge !== undefined)
      this.#authorization = await answerChallenge(challenge, `repository:${repository}:pull`, login);
    const headers = this.#authorization === undefined ? {} : { Authorization: this.#authorization };
    const answer: HttpAnswer = await httpGet(blobUrl, {
      headers: headers as Record<string, string>,
      abortAfterBytes: 0,
    });
    const isMoved = answer.status >= 300 && answer.status < 400;
    demand(answer.status === 200 || isMoved, `the registry: ${answer.status}`, answer.status);
    this.#target = isMoved ? (answer.header('location') ?? '') : blobUrl;
    // A signed URL carries its right with it.
    if (isMoved) this.#authorization = undefined;
  }

  /** The size is the total of a range of one byte. */
  async size(): Promise<number> {
    const answer = await this.#range(0, 1);
    const total = parseContentRange(answer.header('content-range'))?.size;
    demand(total !== undefined, 'bytes=0-0 does not tell the size');
    return total;
  }

  /** A 200 would be taken for the range: block 0 in the place of any other. */
  async read(start: number, end: number): Promise<Buffer> {
    return (await this.#range(start, end)).body;
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  async #range(start: number, end: number): Promise<WireAnswer> {
    const { prefix, host } = this.#options;
    const lines = linesOf({
      Host: host,
      'User-Agent': 'overlaybd/1.0.14',
      Range: `bytes=${start}-${end - 1}`,
      Authorization: this.#authorization,
    });
    const request = head('GET', `${prefix}/${this.#target}`, lines);
    const answer = await this.#connections.ask(request, { method: 'GET' });
    demand(answer.status === 206 || answer.status === 200, `a block: ${answer.status}`, answer.status);
    demand(answer.end === 'whole' && answer.body.length === end - start, `${answer.body.length} bytes`);
    return answer;
  }
}
