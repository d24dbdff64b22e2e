import { type Address, parseAddress } from './address.ts';
import type { Action, Auth, Verdict } from './auth.ts';
import { answerContent } from './bodies.ts';
import type { Exchange } from './exchange.ts';
import { answerManifest, answerReferrers, answerTags } from './manifests.ts';
import type { RedirectOptions, Redirects } from './redirects.ts';
import type { Repository } from './repository.ts';
import { answerToken } from './tokens.ts';
import { Uploads } from './uploads.ts';

const API_VERSION = { 'Docker-Distribution-Api-Version': 'registry/2.0' };

/** What the routes need to know of the origin that they answer for. */
export interface RegistryState {
  readonly auth: Auth;
  readonly redirects: Redirects;
  redirect: RedirectOptions | undefined;
  /** URL of the token endpoint. */
  readonly realm: () => string;
  /** Scheme, host and port of the CDN listener. */
  readonly cdnBase: () => string;
  /** What stands before the paths of an upload's Location lines. */
  readonly uploadBase: () => string;
  readonly repositoryOf: (name: string) => Repository | undefined;
  readonly repositoryNames: () => string[];
  /** Called for a push into a repository that is not there yet. */
  readonly createRepository: (name: string) => Repository;
}

/** The routes of the distribution specification. */
export class Registry {
  readonly #state: RegistryState;
  readonly #uploads: Uploads;

  constructor(state: RegistryState) {
    this.#state = state;
    this.#uploads = new Uploads(state.uploadBase);
  }

  async answer(exchange: Exchange): Promise<void> {
    const address = parseAddress(exchange.record.url);
    if (address.endpoint === 'token') return answerToken(exchange, this.#state.auth);
    if (address.endpoint === 'cdn') return this.answerCdn(exchange);
    if (address.endpoint === 'other') return exchange.error(404, 'NOT_FOUND', 'no such address');
    const action = actionOf(exchange.record.method);
    const verdict = this.#state.auth.judge(
      exchange.request.headers.authorization,
      address.repository,
      action,
    );
    if (verdict.kind !== 'granted') return this.#refuse(exchange, address, action, verdict);
    exchange.record.user = verdict.user;
    return this.#route(exchange, address);
  }

  answerCdn(exchange: Exchange): Promise<void> {
    const { repository } = exchange.record;
    const known = repository === undefined ? undefined : this.#state.repositoryOf(repository);
    return this.#state.redirects.answer(exchange, known, this.#state.redirect ?? { status: 307 });
  }

  /** WWW-Authenticate for a request to this address. */
  challenge(address: Address, action: Action, error?: string): string {
    const { mode, service } = this.#state.auth.options;
    if (mode === 'basic') return `Basic realm="${service}"`;
    const scope =
      address.repository === undefined ? '' : `,scope="repository:${address.repository}:${scopeOf(action)}"`;
    const why = error === undefined ? '' : `,error="${error}"`;
    return `Bearer realm="${this.#state.realm()}",service="${service}"${scope}${why}`;
  }

  /** The same for a fault that answers 401. */
  challengeFor(exchange: Exchange): string {
    return this.challenge(parseAddress(exchange.record.url), actionOf(exchange.record.method));
  }

  #refuse(exchange: Exchange, address: Address, action: Action, verdict: Verdict): Promise<void> {
    const { refusal, mode } = this.#state.auth.options;
    if (verdict.kind === 'refused') {
      exchange.record.user = verdict.user;
      if (refusal === 404)
        return exchange.error(404, 'NAME_UNKNOWN', 'repository name not known to registry');
      if (refusal === 403 || mode === 'basic') {
        return exchange.error(403, 'DENIED', 'requested access to the resource is denied');
      }
    }
    const error =
      verdict.kind === 'refused'
        ? 'insufficient_scope'
        : verdict.kind === 'challenge'
          ? verdict.error
          : undefined;
    return exchange.error(401, 'UNAUTHORIZED', 'authentication required', {
      ...API_VERSION,
      'WWW-Authenticate': this.challenge(address, action, error),
    });
  }

  async #route(exchange: Exchange, address: Address): Promise<void> {
    const { method } = exchange.record;
    const { endpoint, repository: name } = address;
    if (endpoint === 'base') return exchange.json(200, {}, API_VERSION);
    if (endpoint === 'catalog') return exchange.json(200, { repositories: this.#state.repositoryNames() });
    if (name === undefined) return exchange.error(404, 'NOT_FOUND', 'no such address');
    const reading = method === 'GET' || method === 'HEAD';
    const found = this.#state.repositoryOf(name);
    if (found === undefined && (reading || method === 'DELETE')) {
      return exchange.error(404, 'NAME_UNKNOWN', 'repository name not known to registry');
    }
    const repository = found ?? this.#state.createRepository(name);
    if (endpoint === 'upload') {
      return this.#uploads.answer(exchange, address, repository, this.#state.repositoryOf);
    }
    if (endpoint === 'manifest' && (reading || method === 'PUT' || method === 'DELETE')) {
      return answerManifest(exchange, address, repository);
    }
    if (endpoint === 'blob' && (reading || method === 'DELETE'))
      return this.#blob(exchange, address, repository);
    if (!reading) return exchange.error(405, 'UNSUPPORTED', 'the operation is unsupported');
    return endpoint === 'tags'
      ? answerTags(exchange, repository)
      : answerReferrers(exchange, address, repository);
  }

  async #blob(exchange: Exchange, address: Address, repository: Repository): Promise<void> {
    const { method, url, path } = exchange.record;
    const { digest, reference = '' } = address;
    if (digest === undefined) return exchange.error(400, 'DIGEST_INVALID', `invalid digest ${reference}`);
    const blob = repository.blobs.get(digest);
    if (blob === undefined) return exchange.error(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    if (method === 'DELETE') {
      repository.blobs.delete(digest);
      return exchange.answer(202, {}, 0, []);
    }
    const redirect = this.#state.redirect;
    if (redirect !== undefined && (method === 'GET' || (redirect.redirectHead ?? true))) {
      const { location = 'absolute' } = redirect;
      const signed = this.#state.redirects.sign(repository.name, blob, redirect);
      const loop = `${path}?hop=${1 + Number(/hop=(\d+)/.exec(url)?.[1] ?? 0)}`;
      const target =
        location === 'loop' ? loop : location === 'relative' ? signed : this.#state.cdnBase() + signed;
      return exchange.whole(
        redirect.status,
        { 'Content-Type': 'text/html; charset=utf-8', Location: target, 'Docker-Content-Digest': digest },
        '<a href="elsewhere">Moved</a>.\n\n',
      );
    }
    return answerContent(exchange, blob.content, {
      'Content-Type': 'application/octet-stream',
      'Docker-Content-Digest': digest,
      'Cache-Control': 'max-age=31536000',
    });
  }
}

function actionOf(method: string): Action {
  if (method === 'GET' || method === 'HEAD') return 'pull';
  return method === 'DELETE' ? 'delete' : 'push';
}

function scopeOf(action: Action): string {
  return action === 'push' ? 'pull,push' : action;
}
