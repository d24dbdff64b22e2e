import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { OriginId } from '../../../src/blob/upstream.ts';
import { parseAddress } from './address.ts';
import { type AccessRule, type Action, Auth, type AuthOptions } from './auth.ts';
import { Ended, Exchange } from './exchange.ts';
import { Fault, type FaultRule } from './faults.ts';
import { Listener } from './listener.ts';
import { matchesRecord, type RecordFilter, type RequestRecord } from './log.ts';
import { type RedirectOptions, Redirects } from './redirects.ts';
import { Registry, type RegistryState } from './registry.ts';
import { Repository, type RepositoryOptions } from './repository.ts';
import { Throttle } from './throttle.ts';

export interface OriginOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any. */
  readonly port?: number;
  /** PEM key and certificate: the origin speaks https. See `selfSigned()`. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Default 'anonymous'. */
  readonly auth?: AuthOptions['mode'];
  /** Password by user name. */
  readonly users?: Readonly<Record<string, string>>;
  /** Default 5 minutes. */
  readonly tokenLifetimeMs?: number;
  readonly refusal?: AuthOptions['refusal'];
  readonly service?: string;
  /** The token endpoint listens on a port of its own, as those of big registries do. */
  readonly separateTokenServer?: boolean;
  readonly redirect?: RedirectOptions;
  /** Cap over all connections of the registry and the CDN together; default none. */
  readonly bytesPerSecond?: number;
  /** Default 60 s. */
  readonly keepAliveTimeoutMs?: number;
  /** A push into an unknown repository makes it; default true. */
  readonly createOnPush?: boolean;
  /** Location lines of uploads: a path (default), or a whole URL as distribution's own registry makes them. */
  readonly uploadLocation?: 'relative' | 'absolute';
}

type Part = 'registry' | 'cdn' | 'token';

const NO_ONE: AccessRule = { readers: [], writers: [] };
const EVERYONE: AccessRule = { readers: 'everyone', writers: 'everyone' };

/** A registry in this process that does what a test tells it to. Made by {@link startOrigin}. */
export class TestOrigin {
  /** Every request that came, in the order of arrival. */
  readonly requests: RequestRecord[] = [];
  readonly auth: Auth;
  readonly redirects = new Redirects();
  readonly #options: OriginOptions;
  readonly #repositories = new Map<string, Repository>();
  readonly #line: Throttle;
  readonly #listeners = new Map<Part, Listener>();
  readonly #registry: Registry;
  readonly #state: RegistryState;
  readonly #connections = new WeakMap<Socket, number>();
  readonly #startedAtMs = performance.now();
  readonly #handling = new Set<Promise<void>>();
  #faults: Fault[] = [];
  #connectionCount = 0;
  #requestCount = 0;

  private constructor(options: OriginOptions) {
    this.#options = options;
    this.#line = new Throttle(options.bytesPerSecond ?? Number.POSITIVE_INFINITY);
    const authOptions: AuthOptions = {
      mode: options.auth ?? 'anonymous',
      users: options.users ?? {},
      tokenLifetimeMs: options.tokenLifetimeMs ?? 300_000,
      refusal: options.refusal ?? 401,
      service: options.service ?? 'test-registry',
    };
    this.auth = new Auth(authOptions, (name) => this.#ruleOf(name));
    this.#state = {
      auth: this.auth,
      redirects: this.redirects,
      redirect: options.redirect,
      realm: () => `${this.#listener(options.separateTokenServer ? 'token' : 'registry').url}/token`,
      cdnBase: () => this.#listener('cdn').url,
      uploadBase: () => (options.uploadLocation === 'absolute' ? this.url : ''),
      repositoryOf: (name) => this.#repositories.get(name),
      repositoryNames: () => [...this.#repositories.keys()].sort(),
      createRepository: (name) => this.repository(name),
    };
    this.#registry = new Registry(this.#state);
  }

  static async start(options: OriginOptions): Promise<TestOrigin> {
    const origin = new TestOrigin(options);
    const parts: Part[] = ['registry', 'cdn', ...(options.separateTokenServer ? (['token'] as const) : [])];
    for (const part of parts) {
      const listener = await Listener.start({
        host: options.host ?? '127.0.0.1',
        port: part === 'registry' ? (options.port ?? 0) : 0,
        tls: options.tls,
        keepAliveTimeoutMs: options.keepAliveTimeoutMs ?? 60_000,
        onRequest: (request, response) => origin.#accept(part, request, response),
      });
      origin.#listeners.set(part, listener);
    }
    return origin;
  }

  /** `http://127.0.0.1:41234`. */
  get url(): string {
    return this.#listener('registry').url;
  }

  /** The same, as the name of this origin. */
  get id(): OriginId {
    return this.url as OriginId;
  }

  /** `127.0.0.1:41234`. */
  get host(): string {
    return this.#listener('registry').host;
  }

  get port(): number {
    return this.#listener('registry').port;
  }

  get cdnUrl(): string {
    return this.#listener('cdn').url;
  }

  get tokenUrl(): string {
    return this.#state.realm();
  }

  /** The repository of this name; made at the first call, which alone may give options. */
  repository(name: string, options: RepositoryOptions = {}): Repository {
    const known = this.#repositories.get(name);
    if (known !== undefined) return known;
    const made = new Repository(name, options);
    this.#repositories.set(name, made);
    return made;
  }

  fault(rule: FaultRule): Fault {
    const fault = new Fault(rule);
    this.#faults.push(fault);
    return fault;
  }

  /** Later requests meet no fault, and what was stalled goes on. */
  clearFaults(): void {
    const faults = this.#faults;
    this.#faults = [];
    for (const fault of faults) {
      fault.remove();
      fault.release();
    }
  }

  get redirect(): RedirectOptions | undefined {
    return this.#state.redirect;
  }

  set redirect(options: RedirectOptions | undefined) {
    this.#state.redirect = options;
  }

  /** Bytes per second over all connections; undefined: no cap. */
  set bytesPerSecond(value: number | undefined) {
    this.#line.bytesPerSecond = value ?? Number.POSITIVE_INFINITY;
  }

  /** A token that no endpoint was asked for. */
  issueToken(grant: {
    readonly repository: string;
    readonly user?: string;
    readonly actions?: readonly Action[];
    readonly lifetimeMs?: number;
  }): string {
    const rights = new Map([[grant.repository, new Set<Action>(grant.actions ?? ['pull'])]]);
    return this.auth.issue(grant.user, rights, grant.lifetimeMs);
  }

  find(filter: RecordFilter | ((record: RequestRecord) => boolean)): RequestRecord[] {
    return this.requests.filter((record) => matchesRecord(record, filter));
  }

  /** Body bytes of blobs that the kernel took, on the registry and the CDN; error documents do not count. */
  bytesSent(filter: RecordFilter | ((record: RequestRecord) => boolean) = {}): number {
    return this.find(filter)
      .filter(
        ({ endpoint, status }) =>
          (endpoint === 'blob' || endpoint === 'cdn') && status >= 200 && status < 300,
      )
      .reduce((sum, record) => sum + record.bytesSent, 0);
  }

  /** Empties the log and removes every fault; contents, users and tokens stay. */
  reset(): void {
    this.clearFaults();
    this.requests.length = 0;
  }

  /** Resolves once no request is being answered. */
  async idle(): Promise<void> {
    while (this.#handling.size > 0) await Promise.allSettled(this.#handling);
  }

  /** Connections are refused (ECONNREFUSED) until `up()`; open ones are cut unless told otherwise. */
  async down(options: { readonly keepConnections?: boolean; readonly part?: Part } = {}): Promise<void> {
    for (const listener of this.#selected(options.part)) await listener.down(options);
  }

  /** Back on the same ports. */
  async up(options: { readonly part?: Part } = {}): Promise<void> {
    for (const listener of this.#selected(options.part)) await listener.up();
  }

  /** Cuts every open connection, idle ones too; new ones are welcome. */
  cutConnections(): void {
    for (const listener of this.#listeners.values()) listener.cut();
  }

  async close(): Promise<void> {
    this.clearFaults();
    for (const listener of this.#listeners.values()) await listener.close();
    await this.idle();
    for (const repository of this.#repositories.values()) await repository.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #ruleOf(name: string): AccessRule {
    return this.#repositories.get(name)?.rule ?? ((this.#options.createOnPush ?? true) ? EVERYONE : NO_ONE);
  }

  #listener(part: Part): Listener {
    const listener = this.#listeners.get(part);
    if (listener === undefined) throw new Error(`the origin has no ${part} listener`);
    return listener;
  }

  #selected(part: Part | undefined): Listener[] {
    return part === undefined ? [...this.#listeners.values()] : [this.#listener(part)];
  }

  #accept(part: Part, request: IncomingMessage, response: ServerResponse): void {
    const record = this.#record(part, request);
    this.requests.push(record);
    const fault = this.#faults.find((candidate) => candidate.takes(record));
    const exchange = new Exchange({
      request,
      response,
      record,
      fault,
      line: this.#line,
      nowMs: () => performance.now() - this.#startedAtMs,
    });
    const handled = this.#handle(part, exchange).catch((error: unknown) => {
      if (error instanceof Ended || exchange.signal.aborted) return;
      // A fault of the test origin itself: the client sees a reset, and the test's log says why.
      console.error('test origin:', error);
      request.socket.destroy();
    });
    this.#handling.add(handled);
    void handled.finally(() => this.#handling.delete(handled));
  }

  async #handle(part: Part, exchange: Exchange): Promise<void> {
    await exchange.beforeHead();
    const { status, body } = exchange.action;
    if (status !== undefined) {
      const challenge = status === 401 ? { 'WWW-Authenticate': this.#registry.challengeFor(exchange) } : {};
      if (body !== undefined) return exchange.whole(status, challenge, body);
      return exchange.error(status, 'FAULT', `status ${status} on purpose`, challenge);
    }
    if (part === 'cdn') return this.#registry.answerCdn(exchange);
    return this.#registry.answer(exchange);
  }

  #record(part: Part, request: IncomingMessage): RequestRecord {
    const url = request.url ?? '/';
    const address = parseAddress(url);
    const [scheme = ''] = (request.headers.authorization ?? '').toLowerCase().split(' ', 1);
    return {
      id: ++this.#requestCount,
      method: request.method ?? '',
      path: address.path,
      url,
      range: request.headers.range,
      authorization: scheme === '' ? 'none' : scheme === 'basic' || scheme === 'bearer' ? scheme : 'other',
      rawHeaders: [...request.rawHeaders],
      endpoint: part === 'cdn' ? 'cdn' : address.endpoint,
      repository: address.repository,
      digest: address.digest,
      connectionId: this.#connectionId(request.socket),
      atMs: performance.now() - this.#startedAtMs,
      user: undefined,
      status: 0,
      headAtMs: undefined,
      endedAtMs: undefined,
      bytesSent: 0,
      aborted: false,
    };
  }

  #connectionId(socket: Socket): number {
    const known = this.#connections.get(socket);
    if (known !== undefined) return known;
    this.#connections.set(socket, ++this.#connectionCount);
    return this.#connectionCount;
  }
}
