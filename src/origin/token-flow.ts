import { z } from 'zod';
import { Credential } from '../blob/credential.ts';
import { DamselflyError } from '../errors.ts';
import type { Challenge } from './challenge.ts';
import type { HttpClient } from './http-client.ts';
import type { Login } from './login.ts';
import { follow } from './redirects.ts';
import { type Reply, readBody } from './reply.ts';

/** Token endpoints that do not answer must not use up a read's deadline. */
const TOKEN_TIMEOUT_MS = 10_000;
const MAX_TOKEN_BYTES = 256 << 10;
/** The distribution specification's default when a token does not say how long it lives. */
const DEFAULT_LIFETIME_S = 60;
/** Endpoints that take only the other form of the request answer with these. */
const TRY_FORM: ReadonlySet<number> = new Set([400, 404, 405]);

const tokenShape = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

export interface Token {
  readonly credential: Credential;
  readonly lifetimeMs: number;
}

export interface TokenRequest {
  readonly challenge: Challenge;
  readonly repository: string;
  readonly login: Login | null;
  /** Whether a credential may go to this realm: by TLS, or plain where policy says so. */
  readonly mayCarry: (realm: URL) => boolean;
  readonly signal: AbortSignal;
}

/**
 * Trades a login, or nothing, for a bearer token at the realm of a challenge (distribution specification, "token
 * authentication"): GET with Basic, then a POST of a form; an identity token is a form from the start.
 * @throws DamselflyError `origin-broken` when there is no usable realm or answer; those of {@link HttpClient.send}.
 */
export async function fetchToken(http: Pick<HttpClient, 'send'>, request: TokenRequest): Promise<Token> {
  const { challenge, signal } = request;
  const realm = challenge.parameters.get('realm') ?? '';
  if (!URL.canParse(realm) || !/^https?:$/.test(new URL(realm).protocol)) {
    throw new DamselflyError('origin-broken', 'The challenge of the origin names no realm that can be asked');
  }
  const url = new URL(realm);
  url.hash = '';
  url.username = '';
  url.password = '';
  const login = request.mayCarry(url) ? request.login : null;
  const query = new URLSearchParams();
  const service = challenge.parameters.get('service');
  if (service !== undefined) query.set('service', service);
  query.set('scope', scopeOf(request));
  if (login?.kind === 'identity') return read(await post(http, url, query, login, signal));
  const reply = await get(http, url, query, login, signal);
  if (!TRY_FORM.has(reply.status) || login?.kind !== 'password') return read(reply);
  await readBody(reply.body, MAX_TOKEN_BYTES);
  return read(await post(http, url, query, login, signal));
}

/** The challenge's own scope when it is about this repository; a base challenge has none. */
function scopeOf({ challenge, repository }: TokenRequest): string {
  const scope = challenge.parameters.get('scope');
  return scope?.startsWith(`repository:${repository}:`) ? scope : `repository:${repository}:pull`;
}

function get(
  http: Pick<HttpClient, 'send'>,
  realm: URL,
  query: URLSearchParams,
  login: Login | null,
  signal: AbortSignal,
): Promise<Reply> {
  const url = new URL(realm);
  for (const [name, value] of query) url.searchParams.append(name, value);
  const credential = login?.kind === 'password' ? ['authorization', basic(login)] : [];
  const headers = { common: ['accept', 'application/json'], credential, home: url.href };
  return follow(url.href, headers, (at, lines) =>
    http.send({ method: 'GET', url: at, headers: lines, signal, headTimeoutMs: TOKEN_TIMEOUT_MS }),
  ).then(({ reply }) => reply);
}

/** Not redirected: a form with a password goes to the realm and nowhere else. */
function post(
  http: Pick<HttpClient, 'send'>,
  realm: URL,
  query: URLSearchParams,
  login: Extract<Login, { kind: 'password' | 'identity' }>,
  signal: AbortSignal,
): Promise<Reply> {
  const form = new URLSearchParams(query);
  form.set('client_id', 'damselfly');
  if (login.kind === 'identity') {
    form.set('grant_type', 'refresh_token');
    form.set('refresh_token', login.token);
  } else {
    form.set('grant_type', 'password');
    form.set('username', login.user);
    form.set('password', login.password);
  }
  const headers = ['accept', 'application/json', 'content-type', 'application/x-www-form-urlencoded'];
  const body = Buffer.from(form.toString());
  return http.send({
    method: 'POST',
    url: realm.href,
    headers,
    body,
    signal,
    headTimeoutMs: TOKEN_TIMEOUT_MS,
  });
}

export function basic(login: Extract<Login, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${login.user}:${login.password}`).toString('base64')}`;
}

async function read(reply: Reply): Promise<Token> {
  const body = await readBody(reply.body, MAX_TOKEN_BYTES);
  const facts = { originStatus: reply.status };
  if (reply.status !== 200) {
    throw new DamselflyError(
      'origin-broken',
      `The token endpoint answered ${reply.status}; check the node's login`,
      {
        facts,
      },
    );
  }
  try {
    const answer = tokenShape.parse(JSON.parse(body?.toString('utf8') ?? ''));
    const token = answer.token || answer.access_token;
    if (token === undefined || token === '') throw new Error('no token');
    return {
      credential: Credential.of(`Bearer ${token}`),
      lifetimeMs: (answer.expires_in ?? DEFAULT_LIFETIME_S) * 1_000,
    };
  } catch {
    // The parser's own message would quote the token.
    throw new DamselflyError('origin-broken', 'The token endpoint answered with no token', { facts });
  }
}
