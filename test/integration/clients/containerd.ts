import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { parseContentRange } from '../../support/byteranges.ts';
import { answerChallenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { type Fields, goRequest } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

const RESOLVE_ACCEPT = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ');
const ENCODINGS = 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5';
const MAX_SAME_HOST_TRIES = 5;

export interface ContainerdHost {
  readonly place: Place;
  /** What stands in the Host line. */
  readonly host: string;
  /** The registry that the reference names, sent as `ns` since the configured host is another; undefined: not sent. */
  readonly namespace: string | undefined;
  /** Default `/v2`; a mirror with a path has that behind it. */
  readonly basePath?: string;
  readonly userAgent?: string;
  /** 1.x sends none and leaves it to Go. */
  readonly sendsEncodings?: boolean;
  readonly login?: Login | undefined;
  /** `header` tables of hosts.toml. */
  readonly fields?: Fields;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface Pulled {
  readonly manifestDigest: string;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

/** containerd's docker resolver and fetcher with one host of hosts.toml (clients.md 5). */
export class Containerd implements Disposable {
  readonly connections: Connections;
  readonly #options: ContainerdHost;
  #authorization: string | undefined;

  constructor(options: ContainerdHost) {
    this.#options = options;
    this.connections = new Connections(options.place);
  }

  /** Resolve, manifest by digest, then config and all layers at once. */
  async pull(repository: string, tag: string, options: { chunkBytes?: number } = {}): Promise<Pulled> {
    const { chunkBytes } = options;
    const { digest, mediaType } = await this.resolve(repository, tag);
    const manifest = await this.#whole(repository, 'manifests', { digest, mediaType, size: -1 }, chunkBytes);
    const { config, layers } = JSON.parse(manifest.toString('utf8')) as Manifest;
    const read = async (one: Descriptor): Promise<[Digest, Buffer]> => {
      const isParallel = chunkBytes !== undefined && one.size > chunkBytes;
      const bytes = isParallel
        ? await this.parallel(repository, one, chunkBytes)
        : await this.#whole(repository, 'blobs', one, chunkBytes);
      return [one.digest, bytes];
    };
    return { manifestDigest: digest, blobs: new Map(await Promise.all([config, ...layers].map(read))) };
  }

  /** `HEAD /v2/<repo>/manifests/<tag>`. */
  async resolve(repository: string, reference: string): Promise<{ digest: Digest; mediaType: string }> {
    const path = `/${repository}/manifests/${reference}`;
    const answer = await this.#ask('HEAD', repository, path, { Accept: RESOLVE_ACCEPT });
    demand(answer.status < 300, `resolving: ${answer.status}`, answer.status);
    const mediaType = answer.header('content-type');
    const digest = answer.header('docker-content-digest');
    demand(mediaType !== undefined, 'a manifest without a Content-Type');
    // Without these two it would read the manifest whole, only to hash it.
    demand(digest !== undefined && answer.header('content-length') !== undefined, 'no digest or no length');
    return { digest: digest as Digest, mediaType };
  }

  /** `concurrent_layer_fetch_buffer`: open-ended ranges, each left after its chunk by closing the connection. */
  async parallel(repository: string, layer: Descriptor, chunkBytes: number, lanes = 3): Promise<Buffer> {
    const starts = Array.from({ length: Math.ceil(layer.size / chunkBytes) }, (_, i) => i * chunkBytes);
    const chunks: Buffer[] = [];
    const queue = starts.entries();
    const lane = async (): Promise<void> => {
      for (const [index, start] of queue) {
        const fields = { ...this.#blobFields(layer), Range: `bytes=${start}-` };
        const path = `/${repository}/blobs/${layer.digest}`;
        const answer = await this.#ask('GET', repository, path, fields, chunkBytes);
        demand(answer.status < 300, `chunk at ${start}: ${answer.status}`, answer.status);
        // It takes whatever comes, so a 200 here would corrupt the layer.
        chunks[index] = answer.body;
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return this.#verified(layer.digest, Buffer.concat(chunks));
  }

  /** After a body that broke off: the same host again, from the next byte on. */
  async resume(repository: string, layer: Descriptor, from: number): Promise<Buffer> {
    const fields = { ...this.#blobFields(layer), Range: `bytes=${from}-` };
    const answer = await this.#ask('GET', repository, `/${repository}/blobs/${layer.digest}`, fields);
    const range = parseContentRange(answer.header('content-range'));
    if (answer.status === 200 && range === null) return answer.body.subarray(from);
    demand(answer.status === 206 && range?.span.start === from, `resumed with ${answer.status}`);
    demand(answer.end === 'whole', 'the rest broke off too');
    return answer.body;
  }

  /** One request, as `fetcher.open` sends it, whatever the answer. */
  blob(repository: string, layer: Descriptor, stopAfterBytes?: number): Promise<WireAnswer> {
    const path = `/${repository}/blobs/${layer.digest}`;
    return this.#ask('GET', repository, path, this.#blobFields(layer), stopAfterBytes);
  }

  [Symbol.dispose](): void {
    this.connections[Symbol.dispose]();
  }

  async #whole(
    repository: string,
    kind: 'manifests' | 'blobs',
    wanted: Descriptor,
    chunkBytes: number | undefined,
  ): Promise<Buffer> {
    // With parallel fetching on, every GET is the first chunk of something that may be long: manifests too.
    const range = chunkBytes === undefined ? {} : { Range: 'bytes=0-' };
    const fields = { ...this.#blobFields(wanted), ...range };
    const answer = await this.#ask('GET', repository, `/${repository}/${kind}/${wanted.digest}`, fields);
    demand(answer.status < 300, `${kind}: ${answer.status}`, answer.status);
    demand(answer.end === 'whole', `${kind}: the body broke off`);
    // It would undo the encoding, and then the digest would be that of something else.
    demand((answer.header('content-encoding') ?? 'identity') === 'identity', 'an encoded body');
    return this.#verified(wanted.digest, answer.body);
  }

  #verified(digest: Digest, bytes: Buffer): Buffer {
    demand(digestOf(bytes) === digest, `the bytes of ${digest} are others`);
    return bytes;
  }

  #blobFields({ mediaType }: Pick<Descriptor, 'mediaType'>): Fields {
    const { sendsEncodings = true } = this.#options;
    return { Accept: `${mediaType}, */*`, ...(sendsEncodings ? { 'Accept-Encoding': ENCODINGS } : {}) };
  }

  /** 401 is answered once with a token for the mirror's challenge; 408 and 429 are tried again at once, here. */
  async #ask(
    method: string,
    repository: string,
    path: string,
    fields: Fields,
    stopAfterBytes?: number,
  ): Promise<WireAnswer> {
    let answer: WireAnswer | undefined;
    for (let tries = 0; tries < MAX_SAME_HOST_TRIES; tries += 1) {
      answer = await this.#send(method, path, fields, stopAfterBytes);
      if (answer.status === 401 && tries === 0) {
        const challenge = parseChallenge(answer.header('www-authenticate'));
        demand(challenge !== undefined, '401 without a challenge', 401);
        const scope = challenge.parameters.scope ?? `repository:${repository}:pull`;
        this.#authorization = await answerChallenge(challenge, scope, this.#options.login);
      } else if (answer.status !== 408 && answer.status !== 429) break;
    }
    demand(answer !== undefined, 'no answer');
    demand(answer.status < 300 || answer.status >= 400, `a redirect was left over: ${answer.status}`);
    return answer;
  }

  #send(
    method: string,
    path: string,
    fields: Fields,
    stopAfterBytes: number | undefined,
  ): Promise<WireAnswer> {
    const { host, namespace, basePath = '/v2', userAgent = 'containerd/2.4.2' } = this.#options;
    const query = namespace === undefined ? '' : `?ns=${encodeURIComponent(namespace)}`;
    const all = { ...this.#options.fields, ...fields, Authorization: this.#authorization };
    return this.connections.ask(
      goRequest({ method, target: `${basePath}${path}${query}`, host, userAgent, fields: all }),
      { method, ...(stopAfterBytes === undefined ? {} : { stopAfterBytes }) },
    );
  }
}
