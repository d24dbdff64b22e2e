import { randomBytes } from 'node:crypto';

export type Action = 'pull' | 'push' | 'delete';

/** 'everyone': no user needed (in token mode an anonymous token is); 'users': any user; else the users named. */
export type Readers = 'everyone' | 'users' | readonly string[];

export interface AccessRule {
  readonly readers: Readers;
  readonly writers: Readers;
}

export interface AuthOptions {
  readonly mode: 'anonymous' | 'basic' | 'token';
  /** Password by user name. */
  readonly users: Readonly<Record<string, string>>;
  readonly tokenLifetimeMs: number;
  /** Answer to a known user without the right: 401 with insufficient_scope (distribution), 403, or 404 (hides it). */
  readonly refusal: 401 | 403 | 404;
  readonly service: string;
}

interface Token {
  readonly user: string | undefined;
  readonly rights: ReadonlyMap<string, ReadonlySet<Action>>;
  readonly expiresAtMs: number;
}

export type Verdict =
  | { readonly kind: 'granted'; readonly user: string | undefined }
  | { readonly kind: 'challenge'; readonly error?: 'invalid_token' | 'insufficient_scope' }
  | { readonly kind: 'refused'; readonly user: string | undefined };

function isAllowed(readers: Readers, user: string | undefined): boolean {
  if (readers === 'everyone') return true;
  if (user === undefined) return false;
  return readers === 'users' || readers.includes(user);
}

/** Users and the tokens given to them. Tokens are opaque, bound to a user, scopes and an expiry. */
export class Auth {
  readonly options: AuthOptions;
  readonly #ruleOf: (repository: string) => AccessRule;
  readonly #tokens = new Map<string, Token>();
  readonly #refreshTokens = new Map<string, string | undefined>();

  constructor(options: AuthOptions, ruleOf: (repository: string) => AccessRule) {
    this.options = options;
    this.#ruleOf = ruleOf;
  }

  allows(user: string | undefined, repository: string, action: Action): boolean {
    const rule = this.#ruleOf(repository);
    return isAllowed(action === 'pull' ? rule.readers : rule.writers, user);
  }

  /** @returns the user name, or null for a wrong name or password. */
  userOfBasic(authorization: string | undefined): string | null {
    const match = /^basic\s+(\S+)\s*$/i.exec(authorization ?? '');
    const decoded = Buffer.from(match?.[1] ?? '', 'base64').toString('utf8');
    const colon = decoded.indexOf(':');
    if (match === null || colon < 0) return null;
    return this.userOfPassword(decoded.slice(0, colon), decoded.slice(colon + 1));
  }

  userOfPassword(name: string, password: string): string | null {
    return Object.hasOwn(this.options.users, name) && this.options.users[name] === password ? name : null;
  }

  issue(
    user: string | undefined,
    rights: ReadonlyMap<string, ReadonlySet<Action>>,
    lifetimeMs = this.options.tokenLifetimeMs,
  ): string {
    const value = randomBytes(24).toString('base64url');
    this.#tokens.set(value, { user, rights, expiresAtMs: performance.now() + lifetimeMs });
    return value;
  }

  issueRefresh(user: string | undefined): string {
    const value = randomBytes(24).toString('base64url');
    this.#refreshTokens.set(value, user);
    return value;
  }

  /** @returns null for an unknown refresh token; an anonymous one holds undefined. */
  userOfRefresh(value: string): string | undefined | null {
    return this.#refreshTokens.has(value) ? this.#refreshTokens.get(value) : null;
  }

  /** Every token given out so far stops working. */
  expireTokens(): void {
    this.#tokens.clear();
  }

  /** May this request do `action` in `repository`; with no repository: is it anybody that we know (`GET /v2/`). */
  judge(authorization: string | undefined, repository: string | undefined, action: Action): Verdict {
    if (this.options.mode === 'anonymous') return { kind: 'granted', user: undefined };
    if (this.options.mode === 'basic') {
      if (authorization === undefined) {
        const open = repository !== undefined && this.allows(undefined, repository, action);
        return open ? { kind: 'granted', user: undefined } : { kind: 'challenge' };
      }
      const user = this.userOfBasic(authorization);
      if (user === null) return { kind: 'challenge' };
      if (repository !== undefined && !this.allows(user, repository, action))
        return { kind: 'refused', user };
      return { kind: 'granted', user };
    }
    const bearer = /^bearer\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1];
    if (bearer === undefined) return { kind: 'challenge' };
    const token = this.#tokens.get(bearer);
    if (token === undefined || token.expiresAtMs <= performance.now()) {
      return { kind: 'challenge', error: 'invalid_token' };
    }
    if (repository === undefined || token.rights.get(repository)?.has(action)) {
      return { kind: 'granted', user: token.user };
    }
    return { kind: 'refused', user: token.user };
  }
}
