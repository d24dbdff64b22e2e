import { createPrivateKey, type KeyObject, randomUUID, sign, X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { listening } from '../../support/listening.ts';
import { selfSigned } from '../../support/origin/certificate.ts';
import type { Scope } from './scope.ts';

/** A user of the token server; the one without a password is the anonymous one. */
export interface TokenUser {
  readonly name: string;
  readonly password: string | undefined;
  /** Repository → actions, for instance `{ 'lab/secret': ['pull', 'push'] }`; `*` is every repository. */
  readonly grants: Readonly<Record<string, readonly string[]>>;
}

export interface TokenServer {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** For the registry's `rootcertbundle`. */
  readonly certificateFile: string;
  /** How many tokens were asked for. */
  readonly requests: () => number;
  /** A token made without a request, for the test's own uploads. */
  readonly tokenFor: (user: string, scopes: readonly string[]) => string;
}

export interface TokenServerOptions {
  readonly users: readonly TokenUser[];
  readonly lifetimeSeconds?: number;
}

/**
 * The token authentication of the distribution project: Basic (or form) credentials for a JWT that names what the
 * user may do. Signed with ES256; the registry checks the certificate in the `x5c` header against its bundle.
 */
export async function startTokenServer(scope: Scope, options: TokenServerOptions): Promise<TokenServer> {
  const folder = await scope.folder('token');
  const certificateFile = join(folder, 'cert.pem');
  const { key: keyPem, cert } = await selfSigned(['token.test']);
  await writeFile(certificateFile, cert);
  const key = createPrivateKey(keyPem);
  const certificate = new X509Certificate(cert).raw.toString('base64');
  const service = 'damselfly-tests';
  const issuer = 'damselfly-tests-issuer';
  const lifetimeSeconds = options.lifetimeSeconds ?? 300;
  let requests = 0;

  const tokenOf = (user: TokenUser, scopes: readonly string[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: issuer,
      sub: user.name,
      aud: service,
      iat: now,
      nbf: now - 10,
      exp: now + lifetimeSeconds,
      jti: randomUUID(),
      access: scopes.map((text) => allowed(user, text)).filter((entry) => entry.actions.length > 0),
    };
    return jwt(claims, key, certificate);
  };

  const server = createServer(async (request, response) => {
    requests += 1;
    const form = await formOf(request);
    const user = userOf(options.users, request.headers.authorization, form);
    if (user === undefined) {
      response
        .writeHead(401, { 'content-type': 'application/json' })
        .end('{"errors":[{"code":"UNAUTHORIZED"}]}');
      return;
    }
    const scopes = form
      .getAll('scope')
      .flatMap((value) => value.split(' '))
      .filter((value) => value !== '');
    const token = tokenOf(user, scopes);
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ token, access_token: token, expires_in: lifetimeSeconds }));
  });
  const { url, close } = await listening(server);
  scope.defer(close);
  return {
    realm: `${url}/token`,
    service,
    issuer,
    certificateFile,
    requests: () => requests,
    tokenFor: (name, scopes) => {
      const user = options.users.find((candidate) => candidate.name === name);
      if (user === undefined) throw new Error(`the token server knows no ${name}`);
      return tokenOf(user, scopes);
    },
  };
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** `repository:lab/img:pull,push`, cut down to what the user may do. */
function allowed(user: TokenUser, scope: string): Access {
  const first = scope.indexOf(':');
  const last = scope.lastIndexOf(':');
  const name = scope.slice(first + 1, last);
  const granted = user.grants[name] ?? user.grants['*'] ?? [];
  const actions = scope.slice(last + 1).split(',');
  return { type: scope.slice(0, first), name, actions: actions.filter((action) => granted.includes(action)) };
}

function userOf(
  users: readonly TokenUser[],
  authorization: string | undefined,
  form: URLSearchParams,
): TokenUser | undefined {
  let name = form.get('username');
  let password = form.get('password');
  if (authorization?.startsWith('Basic ')) {
    const pair = Buffer.from(authorization.slice('Basic '.length), 'base64').toString();
    name = pair.slice(0, pair.indexOf(':'));
    password = pair.slice(pair.indexOf(':') + 1);
  }
  if (name === null) return users.find((user) => user.password === undefined);
  return users.find(
    (user) => user.name === name && user.password !== undefined && user.password === password,
  );
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const query = new URL(request.url ?? '/', 'http://localhost').searchParams;
  const body = new URLSearchParams(await text(request));
  for (const [name, value] of body) query.append(name, value);
  return query;
}

function jwt(claims: unknown, key: KeyObject, certificate: string): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${encode({ typ: 'JWT', alg: 'ES256', x5c: [certificate] })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}
