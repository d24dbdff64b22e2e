import type { IncomingMessage } from 'node:http';

/**
 * Whether a request must not go out in clear text (the contract, "Ingress forms"): an Authorization or Cookie header,
 * or a token endpoint's password or refresh_token in the query. A signed query is no credential; a form body is not
 * read, so a POST counts as one.
 */
export function carriesCredential(request: IncomingMessage, target: string): boolean {
  const { headers, method } = request;
  if (headers.authorization !== undefined || headers.cookie !== undefined || method === 'POST') return true;
  const query = target.indexOf('?');
  return query >= 0 && /[?&](password|refresh_token)=/i.test(target.slice(query));
}
