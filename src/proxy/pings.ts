import { type FastifyInstance, fastify } from 'fastify';

/** Health checks of the clients (clients.md 8.5). `GET /v2/` is none of them: it is the origin's own answer. */
const PING_PATHS: readonly string[] = ['/', '/v2', '/healthy', '/ping', '/server/ping'];
const PINGS: ReadonlySet<string> = new Set(PING_PATHS);

/** Whether a request target is that of a health check; a query does not matter. */
export function isPingPath(url: string): boolean {
  const query = url.indexOf('?');
  return PINGS.has(query < 0 ? url : url.slice(0, query));
}

/**
 * The routes of the health checks, which answer at once from nothing but a flag: 200 or 503, never a redirect. They are
 * all that fastify routes on this port: whatever else comes has targets that a router must not touch (absolute URLs,
 * `//`, percent signs that do not decode), and no request but a ping may get a 404 that is not an origin's.
 */
export function pingRoutes(healthy: () => boolean): FastifyInstance {
  const app = fastify({ logger: false });
  for (const path of PING_PATHS) {
    app.get(path, (_request, reply) => {
      const isHealthy = healthy();
      return reply
        .code(isHealthy ? 200 : 503)
        .header('Cache-Control', 'no-store')
        .type('text/plain; charset=utf-8')
        .send(isHealthy ? 'ok\n' : 'not ready\n');
    });
  }
  return app;
}
