import { LRUCache } from 'lru-cache';
import { Credential } from '../blob/credential.ts';
import type { OriginId } from '../blob/upstream.ts';
import type { OriginRefusal } from '../errors.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { DockerConfig } from './docker-config.ts';
import { headerValues } from './headers.ts';
import type { HttpClient } from './http-client.ts';
import type { Login } from './login.ts';
import type { OriginDirectory } from './origin-directory.ts';
import { discard } from './reply.ts';
import { basic, fetchToken } from './token-flow.ts';

const MAX_CREDENTIALS = 4_096;
/** Passwords and "no login needed" are looked at again after this. */
const CREDENTIAL_TTL_MS = 5 * 60_000;
/** A token is renewed this much before it ends, and at least a tenth of its life before. */
const MIN_MARGIN_MS = 5_000;
/** How long an origin's challenge is taken for the same. */
const CHALLENGE_TTL_MS = 10 * 60_000;
const MAX_CHALLENGES = 1_000;
const BASE_TIMEOUT_MS = 10_000;
/** The exchange as a whole, whoever waits for it: base challenge, helper, token. */
const FLOW_TIMEOUT_MS = 20_000;

export interface NodeCredentialsOptions {
  readonly directory: OriginDirectory;
  readonly http: HttpClient;
  readonly userAgent: string;
  /** Told what is wrong with a credentials file or helper, without a secret. */
  readonly onTrouble: (message: string) => void;
}

/**
 * What the node itself may show origins (`origins[].credentialsFile`), as a registry wants to see it: Basic, or a bearer
 * token for one repository. For the node's own reads, and for clients' only under `access.mode: node`.
 */
export class NodeCredentials {
  readonly #options: NodeCredentialsOptions;
  readonly #files = new Map<string, DockerConfig>();
  readonly #credentials: LRUCache<string, Credential>;
  readonly #challenges: LRUCache<string, readonly Challenge[]>;
  readonly #flights = new Map<string, Promise<Credential>>();

  constructor(options: NodeCredentialsOptions) {
    this.#options = options;
    this.#credentials = new LRUCache<string, Credential>({ max: MAX_CREDENTIALS });
    this.#challenges = new LRUCache<string, readonly Challenge[]>({
      max: MAX_CHALLENGES,
      ttl: CHALLENGE_TTL_MS,
    });
  }

  /**
   * The credential for reads of one repository; anonymous where the origin asks for none or the node has none.
   * @throws DamselflyError when the origin or its token endpoint has no word; the signal's reason.
   */
  credentialFor(
    origin: OriginId,
    repository: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Credential> {
    const key = `${origin} ${repository}`;
    const known = this.#credentials.get(key);
    if (known !== undefined) return Promise.resolve(known);
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      // One exchange for everyone who waits; a waiter that gives up leaves the others theirs.
      flight = this.#obtain(origin, repository, AbortSignal.timeout(FLOW_TIMEOUT_MS)).finally(() =>
        this.#flights.delete(key),
      );
      flight.catch(() => undefined);
      this.#flights.set(key, flight);
    }
    return waitWith(flight, signal);
  }

  /** A 401 in spite of {@link credentialFor}: what was known is forgotten, and its own challenge is used next. */
  refused(origin: OriginId, repository: string, refusal: OriginRefusal): void {
    this.#credentials.delete(`${origin} ${repository}`);
    const challenges = parseChallenges(headerValues(refusal.rawHeaders, 'www-authenticate'));
    if (challenges.length > 0) this.#challenges.set(origin, challenges);
  }

  async #obtain(origin: OriginId, repository: string, signal: AbortSignal): Promise<Credential> {
    const login = await this.#login(origin, signal);
    const remember = (credential: Credential, ttlMs: number): Credential => {
      if (ttlMs > 0) this.#credentials.set(`${origin} ${repository}`, credential, { ttl: ttlMs });
      return credential;
    };
    if (login?.kind === 'bearer') return remember(Credential.of(`Bearer ${login.token}`), CREDENTIAL_TTL_MS);
    const challenges = await this.#challengesOf(origin, signal);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) {
      const token = await fetchToken(this.#options.http, {
        challenge: bearer,
        repository,
        login,
        mayCarry: (realm) => realm.protocol === 'https:' || this.#options.directory.isPlain(realm),
        signal,
      });
      const margin = Math.max(MIN_MARGIN_MS, token.lifetimeMs / 10);
      return remember(token.credential, token.lifetimeMs - margin);
    }
    const wantsBasic = challenges.some(({ scheme }) => scheme === 'basic');
    const credential =
      wantsBasic && login?.kind === 'password' ? Credential.of(basic(login)) : Credential.anonymous;
    return remember(credential, CREDENTIAL_TTL_MS);
  }

  async #login(origin: OriginId, signal: AbortSignal): Promise<Login | null> {
    const { credentialsFile } = this.#options.directory.settings(origin);
    if (credentialsFile === undefined) return null;
    let file = this.#files.get(credentialsFile);
    if (file === undefined) {
      file = new DockerConfig(credentialsFile, this.#options.onTrouble);
      this.#files.set(credentialsFile, file);
    }
    return file.loginFor(new URL(origin).host, signal);
  }

  /** What `GET /v2/` asks of somebody without a credential; empty when it lets anybody in. */
  async #challengesOf(origin: OriginId, signal: AbortSignal): Promise<readonly Challenge[]> {
    const known = this.#challenges.get(origin);
    if (known !== undefined) return known;
    const { baseUrl } = this.#options.directory.settings(origin);
    const reply = await this.#options.http.sendReconnecting({
      method: 'GET',
      url: `${baseUrl}/v2/`,
      headers: ['user-agent', this.#options.userAgent],
      signal,
      headTimeoutMs: BASE_TIMEOUT_MS,
    });
    discard(reply.body);
    const challenges =
      reply.status === 401 ? parseChallenges(headerValues(reply.rawHeaders, 'www-authenticate')) : [];
    if (reply.status < 500) this.#challenges.set(origin, challenges);
    return challenges;
  }
}

function waitWith<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
