import { type Digest, digestOf } from '../../../src/blob/digest.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { type Fields, goRequest } from './support/requests.ts';
import { type Place, Wire, type WireAnswer } from './support/wire.ts';

export interface PusherOptions {
  readonly place: Place;
  readonly host: string;
  readonly repository: string;
  /** Before every path: nothing in mirror form, scheme, host and port of the registry for a forward proxy. */
  readonly base: string;
  readonly userAgent: string;
  readonly authorization?: string | undefined;
}

/**
 * How clients upload: `monolithic` is containerd's pusher (nydusify, acceld, BuildKit), `streamed` that of Docker,
 * skopeo and crane (one PATCH of unknown length), `chunked` has PATCHes that say where they are.
 */
export type UploadStyle = 'monolithic' | 'streamed' | 'chunked';

/** One repository that is pushed to through a proxy. */
export class Pusher implements Disposable {
  readonly #options: PusherOptions;
  readonly #connections: Connections;

  constructor(options: PusherOptions) {
    this.#options = options;
    this.#connections = new Connections(options.place);
  }

  /** HEAD, and an upload when it is not there. @returns false when there was nothing to do. */
  async blob(bytes: Buffer, style: UploadStyle): Promise<boolean> {
    const digest = digestOf(bytes);
    const there = await this.#ask('HEAD', this.#path(`blobs/${digest}`));
    if (there.status === 200) {
      demand(there.header('content-length') === String(bytes.length), 'HEAD with another length');
      return false;
    }
    demand(there.status === 404, `HEAD of what is not there: ${there.status}`, there.status);
    const begun = await this.#ask('POST', this.#path('blobs/uploads/'), {}, Buffer.alloc(0));
    demand(begun.status === 202, `an upload was not begun: ${begun.status}`, begun.status);
    let at = this.#location(begun);
    const octets = { 'Content-Type': 'application/octet-stream' };
    if (style === 'monolithic') {
      await this.#finish(at, digest, octets, bytes);
      return true;
    }
    const half = bytes.length >> 1;
    for (const [start, part] of style === 'streamed'
      ? [[0, bytes] as const]
      : [[0, bytes.subarray(0, half)] as const, [half, bytes.subarray(half)] as const]) {
      const range = style === 'streamed' ? {} : { 'Content-Range': `${start}-${start + part.length - 1}` };
      const sent = await this.#ask('PATCH', at, { ...octets, ...range }, part, style === 'streamed');
      demand(sent.status === 202, `PATCH: ${sent.status}`, sent.status);
      demand(sent.header('range') === `0-${start + part.length - 1}`, 'PATCH: other progress');
      at = this.#location(sent);
    }
    await this.#finish(at, digest, {}, Buffer.alloc(0));
    return true;
  }

  /** A blob of another repository of the registry, without its bytes. */
  async mount(digest: Digest, from: string): Promise<void> {
    const target = this.#path(
      `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`,
    );
    const answer = await this.#ask('POST', target, {}, Buffer.alloc(0));
    demand(answer.status === 201, `a mount: ${answer.status}`, answer.status);
  }

  async manifest(bytes: Buffer, mediaType: string, reference: string): Promise<void> {
    const fields = { 'Content-Type': mediaType };
    const answer = await this.#ask('PUT', this.#path(`manifests/${reference}`), fields, bytes);
    demand(answer.status === 201, `the manifest: ${answer.status}`, answer.status);
    demand(answer.header('docker-content-digest') === digestOf(bytes), 'another digest');
  }

  /** A PUT that waits for 100 before it sends its body. @returns the final status. */
  async carefully(bytes: Buffer): Promise<number> {
    const begun = await this.#ask('POST', this.#path('blobs/uploads/'), {}, Buffer.alloc(0));
    const at = begun.status === 202 ? this.#location(begun) : this.#path('blobs/uploads/none');
    const wire = await Wire.open(this.#options.place);
    try {
      const fields = { 'Content-Length': String(bytes.length), Expect: '100-continue' };
      wire.send(this.#request('PUT', `${at}?digest=${digestOf(bytes)}`, fields));
      demand((await wire.receiveInterim()) === 100, 'another interim answer');
      wire.send(bytes);
      return (await wire.receive({ method: 'PUT' })).status;
    } finally {
      wire.close();
    }
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  async #finish(at: string, digest: Digest, fields: Fields, body: Buffer): Promise<void> {
    const target = `${at}${at.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
    const done = await this.#ask('PUT', target, fields, body);
    demand(done.status === 201, `PUT: ${done.status}`, done.status);
    demand(done.header('docker-content-digest') === digest, 'another digest');
  }

  /** A path is the mirror's, or the registry's in absolute form; of a whole URL, which is the registry's, only the latter follows. */
  #location(answer: WireAnswer): string {
    const location = answer.header('location');
    demand(location !== undefined, 'no Location');
    return location.startsWith('/') ? this.#options.base + location : location;
  }

  #path(rest: string): string {
    return `${this.#options.base}/v2/${this.#options.repository}/${rest}`;
  }

  #ask(
    method: string,
    target: string,
    fields: Fields = {},
    body?: Buffer,
    isStreamed = false,
  ): Promise<WireAnswer> {
    const framing: Fields =
      body === undefined
        ? {}
        : isStreamed
          ? { 'Transfer-Encoding': 'chunked' }
          : { 'Content-Length': String(body.length) };
    const framed = body === undefined ? [] : isStreamed ? inChunks(body) : [body];
    const request = Buffer.from(this.#request(method, target, { ...framing, ...fields }));
    return this.#connections.ask(Buffer.concat([request, ...framed]), { method });
  }

  #request(method: string, target: string, fields: Fields): string {
    const { host, userAgent, authorization } = this.#options;
    return goRequest({
      method,
      target,
      host,
      userAgent,
      fields: { ...fields, Authorization: authorization },
    });
  }
}

const CHUNK_BYTES = 32 << 10;

function inChunks(body: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    const part = body.subarray(at, at + CHUNK_BYTES);
    chunks.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
  }
  return [...chunks, Buffer.from('0\r\n\r\n')];
}
