import fastify, { type FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';

const REQUEST_TIMEOUT_MS = 10_000;

/** `GET /metrics` for Prometheus. */
export function metricsApp(registry: Registry): FastifyInstance {
  const app = fastify({
    logger: false,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: REQUEST_TIMEOUT_MS },
  });
  app.get('/metrics', async (_request, reply) => {
    const text = await registry.metrics();
    return reply.header('content-type', registry.contentType).send(text);
  });
  return app;
}
