import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import type { Span } from '../../../src/blob/span.ts';
import { parseByteRanges, parseContentRange } from '../../support/byteranges.ts';
import { answerChallenge, type Challenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { type Fields, goRequest } from './support/requests.ts';
import { type Place, Wire, type WireAnswer } from './support/wire.ts';

/** As containers/image sends them: six lines, not one. */
export const MANIFEST_ACCEPTS = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.index.v1+json',
] as const;
/** The start of a TLS 1.2 record with a ClientHello in it; what follows is not looked at on a plain port. */
const CLIENT_HELLO = Buffer.concat([Buffer.from('16030100fa010000f60303', 'hex'), Buffer.alloc(240, 7)]);
/** Of 1,024 chunks at once it goes down, halving, on 400 only, as long as there are no fewer than this. */
const MIN_PARTS_TO_HALVE = 64;

/** podman, CRI-O and skopeo with a `[[registry.mirror]]` that is `insecure` (clients.md 6.4). */
export class Podman implements Disposable {
  readonly #connections: Connections;
  readonly #place: Place;
  readonly #host: string;
  readonly #login: Login | undefined;
  #challenge: Challenge | undefined;
  #authorization: string | undefined;

  constructor(options: { place: Place; host: string; login?: Login | undefined }) {
    this.#place = options.place;
    this.#connections = new Connections(options.place);
    this.#host = options.host;
    this.#login = options.login;
  }

  /** https first, always: a plain port must end that quickly. @returns how long it took, in milliseconds. */
  async tryTls(): Promise<number> {
    const begunMs = performance.now();
    const wire = await Wire.open(this.#place);
    try {
      wire.send(CLIENT_HELLO);
      const came = await wire.receiveUntilEnd();
      // An HTTP answer makes it say "server gave HTTP response to HTTPS client" and go on, too.
      demand(came.length === 0 || came.toString('latin1').startsWith('HTTP/1.'), 'neither an end nor HTTP');
    } finally {
      wire.close();
    }
    return performance.now() - begunMs;
  }

  /** `GET /v2/`: 200 or 401, nothing else, and its challenges are the only ones ever used. */
  async ping(): Promise<void> {
    const answer = await this.#get('/v2/');
    demand(answer.status === 200 || answer.status === 401, `GET /v2/: ${answer.status}`, answer.status);
    this.#challenge = answer.status === 401 ? parseChallenge(answer.header('www-authenticate')) : undefined;
    demand(answer.status === 200 || this.#challenge !== undefined, '401 without a challenge', 401);
  }

  async pull(repository: string, tag: string): Promise<Map<Digest, Buffer>> {
    await this.ping();
    if (this.#challenge !== undefined) {
      const scope = `repository:${repository}:pull`;
      this.#authorization = await answerChallenge(this.#challenge, scope, this.#login);
    }
    const answer = await this.#get(`/v2/${repository}/manifests/${tag}`, { Accept: MANIFEST_ACCEPTS });
    demand(answer.status === 200, `the manifest: ${answer.status}`, answer.status);
    const { config, layers } = JSON.parse(answer.body.toString('utf8')) as {
      config: { digest: Digest };
      layers: { digest: Digest }[];
    };
    const blobs = new Map<Digest, Buffer>();
    for (const { digest } of [config, ...layers]) {
      const blob = await this.#get(`/v2/${repository}/blobs/${digest}`);
      demand(blob.status === 200 && blob.end === 'whole', `a blob: ${blob.status}`, blob.status);
      demand(digestOf(blob.body) === digest, `the bytes of ${digest} are others`);
      blobs.set(digest, blob.body);
    }
    return blobs;
  }

  /** body_reader: after a body that broke off. */
  async resume(repository: string, blob: { digest: Digest; size: number }, from: number): Promise<Buffer> {
    const answer = await this.#get(`/v2/${repository}/blobs/${blob.digest}`, { Range: `bytes=${from}-` });
    demand(answer.status === 206, `resumed with ${answer.status}`, answer.status);
    const range = parseContentRange(answer.header('content-range'));
    demand(range?.span.start === from, 'the rest starts elsewhere');
    demand(range.span.end === blob.size && range.size === blob.size, 'the rest ends elsewhere');
    return answer.body;
  }

  /** Chunks of a zstd:chunked layer; the last one may be open-ended. A typed 400 makes it ask for fewer at once. */
  async chunks(
    repository: string,
    digest: Digest,
    wanted: readonly { readonly start: number; readonly end: number | undefined }[],
  ): Promise<Buffer[]> {
    const ranges = wanted.map(({ start, end }) => `${start}-${end === undefined ? '' : end - 1}`);
    const answer = await this.#get(`/v2/${repository}/blobs/${digest}`, {
      Range: `bytes=${ranges.join(',')}`,
    });
    if (answer.status === 400) {
      demand(wanted.length >= MIN_PARTS_TO_HALVE, '400 for few chunks', 400);
      const half = Math.ceil(wanted.length / 2);
      const first = await this.chunks(repository, digest, wanted.slice(0, half));
      return [...first, ...(await this.chunks(repository, digest, wanted.slice(half)))];
    }
    demand(answer.status === 206, `chunks: ${answer.status}`, answer.status);
    if (wanted.length === 1) {
      demand(parseContentRange(answer.header('content-range')) !== null, 'a part that does not say which');
      return [answer.body];
    }
    const parts = parseByteRanges(answer.header('content-type'), answer.body);
    demand(parts.length === wanted.length, `${parts.length} parts of ${wanted.length}`);
    parts.forEach(({ span }: { span: Span }, i) => {
      demand(span.start === wanted[i]?.start, 'parts in another order');
    });
    return parts.map(({ bytes }) => bytes);
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  #get(target: string, fields: Fields = {}): Promise<WireAnswer> {
    const all = {
      ...fields,
      Authorization: this.#authorization,
      'Docker-Distribution-Api-Version': 'registry/2.0',
    };
    const userAgent = 'containers/5.36.1 (github.com/containers/image)';
    return this.#connections.ask(
      goRequest({ method: 'GET', target, host: this.#host, userAgent, fields: all }),
      { method: 'GET' },
    );
  }
}
