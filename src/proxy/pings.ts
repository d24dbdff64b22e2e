import type { IncomingMessage, ServerResponse } from 'node:http';

/** Health checks of the clients (clients.md 8.5). `GET /v2/` is none of them: it is the origin's own answer. */
const PING_PATHS: ReadonlySet<string> = new Set(['/', '/v2', '/healthy', '/ping', '/server/ping']);

/** Whether a request target is that of a health check; a query does not matter. */
export function isPingPath(url: string): boolean {
  const query = url.indexOf('?');
  return PING_PATHS.has(query < 0 ? url : url.slice(0, query));
}

/** Answers at once, from nothing but a flag: 200 or 503, with a word for people and never a redirect. */
export function answerPing(request: IncomingMessage, response: ServerResponse, healthy: boolean): void {
  const body = healthy ? 'ok\n' : 'not ready\n';
  response.writeHead(healthy ? 200 : 503, [
    'Content-Type',
    'text/plain; charset=utf-8',
    'Content-Length',
    String(body.length),
    'Cache-Control',
    'no-store',
  ]);
  response.end(request.method === 'HEAD' ? undefined : body);
}
