import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { parseContentRange } from '../../support/byteranges.ts';
import { answerChallenge, type Challenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { goRequest } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

const PING_TIMEOUT_MS = 15_000;
const USER_AGENT =
  'docker/29.7.0 go/go1.24 git-commit/0000000 kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/29.7.0 \\(linux\\))';
const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/json',
];

/** Docker's classic image store with a `registry-mirrors` entry, which is for docker.io only (clients.md 6.5). */
export class Docker implements Disposable {
  readonly #connections: Connections;
  readonly #host: string;
  readonly #login: Login | undefined;
  #challenge: Challenge | undefined;
  #authorization: string | undefined;

  constructor(options: { place: Place; host: string; login?: Login | undefined }) {
    this.#connections = new Connections(options.place);
    this.#host = options.host;
    this.#login = options.login;
  }

  /** `GET /v2/`: any status will do, and its 401 is the only place that a challenge is taken from. */
  async ping(): Promise<Challenge | undefined> {
    const answer = await this.#send('/v2/');
    if (answer.status === 401) this.#challenge = parseChallenge(answer.header('www-authenticate'));
    return this.#challenge;
  }

  async pull(repository: string, tag: string): Promise<Map<Digest, Buffer>> {
    await this.ping();
    if (this.#challenge !== undefined) {
      const scope = `repository:${repository}:pull`;
      this.#authorization = await answerChallenge(this.#challenge, scope, this.#login);
    }
    const answer = await this.#send(`/v2/${repository}/manifests/${tag}`, { Accept: MANIFEST_TYPES });
    demand(answer.status === 200, `the manifest: ${answer.status}`, answer.status);
    const { config, layers } = JSON.parse(answer.body.toString('utf8')) as {
      config: { digest: Digest };
      layers: { digest: Digest }[];
    };
    const blobs = await Promise.all(
      [config, ...layers].map(async ({ digest }): Promise<[Digest, Buffer]> => {
        const blob = await this.#send(`/v2/${repository}/blobs/${digest}`);
        demand(blob.status === 200 && blob.end === 'whole', `a blob: ${blob.status}`, blob.status);
        demand(digestOf(blob.body) === digest, `the bytes of ${digest} are others`);
        return [digest, blob.body];
      }),
    );
    return new Map(blobs);
  }

  /** What it does after a broken download: from there to the end of the blob, and nothing else will do. */
  async resume(repository: string, blob: { digest: Digest; size: number }, from: number): Promise<Buffer> {
    const answer = await this.#send(`/v2/${repository}/blobs/${blob.digest}`, { Range: `bytes=${from}-` });
    demand(answer.status === 206, `resumed with ${answer.status}`, answer.status);
    const range = parseContentRange(answer.header('content-range'));
    demand(range?.span.start === from && range.span.end === blob.size, 'not to the end of the blob');
    return answer.body;
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  /** What an answer tells of auth after the ping is not looked at. */
  #send(target: string, fields: Record<string, string | string[]> = {}): Promise<WireAnswer> {
    const all = { ...fields, Authorization: this.#authorization };
    return this.#connections.ask(
      goRequest({ method: 'GET', target, host: this.#host, userAgent: USER_AGENT, fields: all }),
      { method: 'GET', idleMs: PING_TIMEOUT_MS },
    );
  }
}
