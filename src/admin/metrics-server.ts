import fastify, { type FastifyInstance } from 'fastify';
import type { Registry } from 'prom-client';

/** `GET /metrics` for Prometheus. */
export function metricsApp(registry: Registry): FastifyInstance {
  const app = fastify({ logger: false });
  app.get('/metrics', async (_request, reply) => {
    void reply.header('content-type', registry.contentType);
    return registry.metrics();
  });
  return app;
}
