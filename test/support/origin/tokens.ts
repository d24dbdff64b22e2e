import type { Action, Auth } from './auth.ts';
import type { Exchange } from './exchange.ts';

/**
 * The token endpoint of the distribution specification's token authentication: GET with a query and Basic, or POST
 * with a form (grant_type password or refresh_token). nydusd also puts name and password into the query of a GET.
 */
export async function answerToken(exchange: Exchange, auth: Auth): Promise<void> {
  const { method } = exchange.record;
  if (method !== 'GET' && method !== 'POST') return exchange.error(405, 'UNSUPPORTED', 'GET or POST');
  const fields = new URLSearchParams(
    method === 'GET' ? exchange.query.toString() : (await exchange.body(64 * 1024)).toString('utf8'),
  );
  const user = requester(exchange, auth, fields);
  if (user === null) return exchange.error(401, 'UNAUTHORIZED', 'wrong user name, password or refresh token');
  exchange.record.user = user;

  const rights = new Map<string, Set<Action>>();
  const scopes = fields.getAll('scope').flatMap((scope) => scope.split(' '));
  for (const scope of scopes) {
    const match = /^repository:(.+):([a-z,*]+)$/.exec(scope);
    const [, repository, actions] = match ?? [];
    if (repository === undefined || actions === undefined) continue;
    const asked = actions
      .split(',')
      .flatMap((action) => (action === '*' ? ['pull', 'push', 'delete'] : action));
    const granted = rights.get(repository) ?? new Set<Action>();
    for (const action of asked as Action[]) {
      if (auth.allows(user, repository, action)) granted.add(action);
    }
    rights.set(repository, granted);
  }
  const token = auth.issue(user, rights);
  const wantsRefresh = fields.get('access_type') === 'offline' || fields.get('offline_token') === 'true';
  await exchange.json(200, {
    token,
    access_token: token,
    expires_in: Math.floor(auth.options.tokenLifetimeMs / 1000),
    issued_at: new Date().toISOString(),
    ...(wantsRefresh ? { refresh_token: auth.issueRefresh(user) } : {}),
  });
}

/** @returns the user, undefined for an anonymous request, null when a credential was shown and is wrong. */
function requester(exchange: Exchange, auth: Auth, fields: URLSearchParams): string | undefined | null {
  const { authorization } = exchange.request.headers;
  if (authorization !== undefined) return auth.userOfBasic(authorization);
  const refresh = fields.get('refresh_token');
  if (refresh !== null) return auth.userOfRefresh(refresh);
  const name = fields.get('username');
  if (name !== null) return auth.userOfPassword(name, fields.get('password') ?? '');
  return undefined;
}
