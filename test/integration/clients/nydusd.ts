import type { Digest } from '../../../src/blob/digest.ts';
import { basic, type Login, tokenOf } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { ClientError, demand } from './support/refused.ts';
import { head, linesOf } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

/** `timeout`: to the head, and then of each read of the body. */
const READ_TIMEOUT_MS = 5_000;
const CLIENT_ID = 'nydus-registry-client';

/**
 * How a release reaches a proxy (clients.md 2). `mirrors` and `proxy` are keys of the backend; `authThrough` is that of
 * a mirror up to 2.2.2, `token` where its token request goes, `hints` the headers of a build with
 * `backend-dragonfly-proxy`.
 */
export interface NydusdWay {
  readonly form: 'mirrors' | 'proxy';
  readonly authThrough?: boolean;
  readonly token: 'through' | 'direct';
  readonly userAgent?: string;
  readonly hints?: boolean;
  /** `use_http`: https registries are asked for with http URLs, so that the proxy sees more than CONNECT. */
  readonly useHttp?: boolean;
}

export const NYDUSD_WAYS: Readonly<Record<string, NydusdWay>> = {
  '2.2.0 mirrors, auth_through': { form: 'mirrors', authThrough: true, token: 'through' },
  '2.2.2 mirrors, auth_through off': { form: 'mirrors', authThrough: false, token: 'direct' },
  '2.3.4 mirrors': { form: 'mirrors', token: 'through' },
  '2.2.0 proxy': { form: 'proxy', token: 'through' },
  '2.3.9 proxy': { form: 'proxy', token: 'through', useHttp: true },
  '2.4.4 proxy': { form: 'proxy', token: 'direct', userAgent: 'nydusd/1.0.0', useHttp: true },
  '2.4.4 proxy, Dragonfly build': {
    form: 'proxy',
    token: 'direct',
    userAgent: 'nydusd/1.0.0',
    hints: true,
    useHttp: true,
  },
};

export interface NydusdOptions extends NydusdWay {
  /** The mirror or the proxy. */
  readonly place: Place;
  readonly host: string;
  /** Scheme, host and port of the registry. */
  readonly registryUrl: string;
  readonly repository: string;
  readonly login?: Login | undefined;
}

export interface Asked {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly range?: string;
  readonly priority?: 3 | 6;
  readonly stopAfterBytes?: number;
}

/** The registry backend of nydusd, whoever mounts it: FUSE, virtio-fs and fscache ask alike (clients.md 3, 6.7). */
export class Nydusd implements Disposable {
  readonly #options: NydusdOptions;
  readonly #proxy: Connections;
  readonly #registry: Connections;
  #authorization: string | undefined;
  /** Requests that went past the mirror or proxy, since it had failed or was not to be asked. */
  direct = 0;

  constructor(options: NydusdOptions) {
    this.#options = options;
    this.#proxy = new Connections(options.place);
    const { hostname, port } = new URL(options.registryUrl);
    this.#registry = new Connections({ host: hostname, port: Number(port) });
  }

  /** One span of compressed chunks. 200 and 206 are equal to it, and Content-Range is never looked at. */
  async read(digest: Digest, start: number, end: number, priority: 3 | 6 = 6): Promise<Buffer> {
    const answer = await this.#blob(digest, { range: `bytes=${start}-${end - 1}`, priority });
    demand(answer.status < 300, `EIO: ${answer.status}`, answer.status);
    demand(answer.body.length <= end - start, 'failed to write whole buffer');
    demand(answer.body.length === end - start && answer.end === 'whole', 'a short body');
    return answer.body;
  }

  /** Of blobs that are not RAFS: needs a Content-Length, and takes that of a redirect for the blob's. */
  async size(digest: Digest): Promise<number> {
    const answer = await this.#blob(digest, { method: 'HEAD' });
    demand(answer.status < 400, `HEAD: ${answer.status}`, answer.status);
    const length = answer.header('content-length');
    demand(length !== undefined, 'HEAD without a length');
    return Number(length);
  }

  /** `stream_prefetch`: no Range at 0, else an open one, left as soon as the last chunk is in. */
  async stream(digest: Digest, start: number, end: number): Promise<Buffer> {
    const range = start === 0 ? {} : { range: `bytes=${start}-` };
    const answer = await this.#blob(digest, { ...range, priority: 3, stopAfterBytes: end - start });
    // A redirect is not followed here: its body would be taken for the blob's.
    demand(answer.status < 400, `a stream: ${answer.status}`, answer.status);
    demand(answer.body.length === end - start, 'a short stream');
    return answer.body;
  }

  /** A proxy is well at 200 to 399, a mirror below 500; on a connection of its own. */
  async ping(path: string): Promise<boolean> {
    using connections = new Connections(this.#options.place);
    const request = head('GET', path, linesOf({ accept: '*/*', host: this.#options.host }));
    const { status } = await connections.ask(request, { method: 'GET', idleMs: READ_TIMEOUT_MS });
    return this.#options.form === 'proxy' ? status >= 200 && status < 400 : status < 500;
  }

  [Symbol.dispose](): void {
    this.#proxy[Symbol.dispose]();
    this.#registry[Symbol.dispose]();
  }

  /** 401 with a token: the same once more without it, and the challenge of that answer counts. */
  async #blob(digest: Digest, asked: Asked): Promise<WireAnswer> {
    const path = `/v2/${this.#options.repository}/blobs/${digest}`;
    let answer = await this.#call(path, asked);
    if (answer.status !== 401) return answer;
    if (this.#authorization !== undefined) {
      this.#authorization = undefined;
      answer = await this.#call(path, asked);
    }
    this.#authorization = await this.#login(answer.header('www-authenticate') ?? '');
    return this.#call(path, asked);
  }

  /** Its own parser: only these two spellings of the schemes, and a realm ends at a `=`. */
  async #login(line: string): Promise<string> {
    const { login, repository } = this.#options;
    const scheme = /^(Basic|Bearer) /.exec(line)?.[1];
    demand(scheme !== undefined, `a challenge that it cannot read: ${line}`);
    if (scheme === 'Basic') return basic(login ?? { user: '', password: '' });
    const parameters = new Map(
      line
        .slice(scheme.length)
        .split('",')
        .map((part) => part.split('=') as [string, string?])
        .map(([name, value = '']) => [name.trim(), value.replaceAll('"', '')]),
    );
    const realm = parameters.get('realm');
    const service = parameters.get('service');
    demand(realm !== undefined && service !== undefined, `no realm or no service: ${line}`);
    const form = new URLSearchParams({
      service,
      scope: parameters.get('scope') ?? `repository:${repository}:pull`,
      client_id: CLIENT_ID,
      ...(login === undefined
        ? {}
        : { grant_type: 'password', username: login.user, password: login.password }),
    }).toString();
    const authorization = login === undefined ? undefined : basic(login);
    const answer = await this.#token(new URL(realm), form, authorization);
    return tokenOf({
      status: answer.status,
      json: () => JSON.parse(answer.body.toString('utf8')) as unknown,
    });
  }

  /** POST with a form; through mirrors, any answer but a good one makes it go to the realm itself. */
  async #token(realm: URL, form: string, authorization: string | undefined): Promise<WireAnswer> {
    const { form: way, host, token } = this.#options;
    const send = (connections: Connections, target: string, hostLine: string): Promise<WireAnswer> => {
      const lines = linesOf({
        authorization,
        'content-type': 'application/x-www-form-urlencoded',
        ...(way === 'mirrors' ? this.#mirrorFields() : {}),
        accept: '*/*',
        host: hostLine,
        'content-length': String(form.length),
      });
      return connections.ask(head('POST', target, lines) + form, { method: 'POST' });
    };
    if (token === 'through') {
      const through =
        way === 'mirrors'
          ? await send(this.#proxy, realm.pathname, host)
          : await send(this.#proxy, realm.href, realm.host);
      if (through.status < 400) return through;
    }
    using own = new Connections({ host: realm.hostname, port: Number(realm.port) });
    return send(own, realm.pathname, realm.host);
  }

  async #call(path: string, asked: Asked): Promise<WireAnswer> {
    const { form, authThrough } = this.#options;
    // Without a token such a mirror is not asked at all, so never at an open registry.
    const isSkipped = form === 'mirrors' && authThrough === false && this.#authorization === undefined;
    if (!isSkipped) {
      try {
        const answer = await this.#through(path, asked);
        // HEAD is checked inside of the transport: any 4xx is a failure of the mirror there.
        if (answer.status < 500 && !(asked.method === 'HEAD' && answer.status >= 400)) return answer;
      } catch (error) {
        if (error instanceof ClientError) throw error;
      }
    }
    this.direct += 1;
    return this.#send(this.#registry, path, new URL(this.#options.registryUrl).host, asked, {});
  }

  #through(path: string, asked: Asked): Promise<WireAnswer> {
    const { form, host, registryUrl } = this.#options;
    if (form === 'mirrors') return this.#send(this.#proxy, path, host, asked, this.#mirrorFields());
    const url = this.#options.useHttp === true ? registryUrl.replace('https', 'http') : registryUrl;
    return this.#send(this.#proxy, url + path, new URL(registryUrl).host, asked, this.#hints(asked));
  }

  #mirrorFields(): Record<string, string> {
    return { 'x-dragonfly-registry': this.#options.registryUrl };
  }

  #hints({ priority = 6 }: Asked): Record<string, string | undefined> {
    const { hints, userAgent } = this.#options;
    if (hints !== true) return { 'user-agent': userAgent };
    return {
      'user-agent': userAgent,
      'x-dragonfly-prefetch': 'true',
      'x-dragonfly-priority': String(priority),
      'x-dragonfly-use-p2p': 'true',
    };
  }

  /** hyper's way: lower-case names, `content-length: 0` on a GET, Host last. */
  #send(
    connections: Connections,
    target: string,
    host: string,
    { method = 'GET', range, stopAfterBytes }: Asked,
    fields: Record<string, string | undefined>,
  ): Promise<WireAnswer> {
    const lines = linesOf({
      range,
      authorization: this.#authorization,
      ...fields,
      'content-length': '0',
      accept: '*/*',
      host,
    });
    return connections.ask(head(method, target, lines), {
      method,
      idleMs: READ_TIMEOUT_MS,
      ...(stopAfterBytes === undefined ? {} : { stopAfterBytes }),
    });
  }
}
