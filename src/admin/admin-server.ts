import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DamselflyError } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import { type CacheKeeper, cacheRoutes } from './cache-routes.ts';
import { challengeFor, checkCaller } from './caller.ts';
import { streamJob } from './job-stream.ts';
import { page } from './page.ts';
import { checkPrefetchRequest } from './prefetch.ts';
import type { AdminProblem, PrefetchEvent, PrefetchRequest } from './prefetch-events.ts';
import { type StatusPorts, statusDocument } from './status-document.ts';

/** Prefetch jobs at once: each reads several blobs. */
export const MAX_PREFETCH_JOBS = 4;

const MAX_BODY_BYTES = 64 * 1024;
/** A request is short: whoever takes longer to send it holds a connection for nothing. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Tells a script when to come back after prefetch-busy or cache-busy. */
const RETRY_AFTER_S = 10;

export interface AdminPorts extends StatusPorts {
  /** Undefined: no token is asked for, and callers from elsewhere may only look. */
  readonly token: string | undefined;
  readonly keeper: CacheKeeper;
  prefetchImage(request: PrefetchRequest, signal: AbortSignal): AsyncGenerator<PrefetchEvent>;
  /** For faults of our own, whose details are told to nobody else. */
  readonly log?: Logger;
}

const prefetchBody = z.strictObject({
  reference: z.string().min(1).max(2048),
  platform: z.string().min(1).max(128).optional(),
});

/**
 * Health, status, prefetch and the cache on the admin port (the contract, "Ports").
 * @param jobs shared by all the addresses that the port listens on.
 */
export function adminApp(ports: AdminPorts, jobs: { running: number }): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: REQUEST_TIMEOUT_MS },
  });
  // Forms of other sites can send text without asking first; nothing here takes it.
  app.removeContentTypeParser('text/plain');
  const stopping = new AbortController();
  app.addHook('preClose', async () => {
    stopping.abort(new DamselflyError('shutting-down', 'The node is stopping'));
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  });
  app.setErrorHandler((error, request, reply) => fail(ports, error, request, reply));
  app.setNotFoundHandler((_request, reply) =>
    problem(reply.code(404), {
      code: 'request-malformed',
      message: 'There is nothing here: see /api/v1/status and /healthy',
    }),
  );
  app.get('/healthy', (_request, reply) => {
    const { healthy, reasons } = ports.health();
    return reply
      .code(healthy ? 200 : 503)
      .type('text/plain; charset=utf-8')
      .send(healthy ? 'ok\n' : `${reasons.join('\n')}\n`);
  });
  app.get('/', (_request, reply) =>
    reply
      .header('content-security-policy', "default-src 'none'")
      .type('text/html; charset=utf-8')
      .send(page(ports.version, ports.listen().metrics)),
  );
  app.get('/api/v1/status', () => statusDocument(ports));
  app.post(
    '/api/v1/prefetch',
    { onRequest: async (request) => checkCaller(request, ports.token) },
    (request, reply) => {
      const wanted = readBody(request.body);
      checkPrefetchRequest(wanted);
      if (jobs.running >= MAX_PREFETCH_JOBS) {
        throw new DamselflyError(
          'prefetch-busy',
          `${MAX_PREFETCH_JOBS} prefetch jobs are running already: wait for one to end`,
        );
      }
      return streamJob(
        reply,
        stopping.signal,
        (signal) => {
          const events = ports.prefetchImage(wanted, signal);
          jobs.running += 1;
          return events;
        },
        () => {
          jobs.running -= 1;
        },
      );
    },
  );
  cacheRoutes(app, { keeper: ports.keeper, token: ports.token, stopping: stopping.signal });
  return app;
}

/** @throws DamselflyError request-malformed. */
function readBody(body: unknown): PrefetchRequest {
  const { success, data, error } = prefetchBody.safeParse(body);
  if (success) return data;
  const [issue] = error.issues;
  const where = issue === undefined || issue.path.length === 0 ? 'the body' : issue.path.join('.');
  throw new DamselflyError(
    'request-malformed',
    `${where}: ${issue?.message ?? 'not understood'}; expected {"reference": "host/repository:tag", "platform"?: "linux/amd64"}`,
  );
}

function fail(ports: AdminPorts, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (error instanceof DamselflyError && error.code !== 'internal') {
    if (error.code === 'token-required') reply.header('www-authenticate', challengeFor(request));
    if (error.code === 'prefetch-busy' || error.code === 'cache-busy')
      reply.header('retry-after', RETRY_AFTER_S);
    return problem(reply.code(error.status), { code: error.code, message: error.message });
  }
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
  if (status >= 400 && status < 500) {
    return problem(reply.code(status), {
      code: 'request-malformed',
      message: `The request cannot be understood: send JSON of at most ${MAX_BODY_BYTES} bytes with Content-Type: application/json`,
    });
  }
  ports.log?.error({ err: error, route: request.routeOptions.url }, 'a request on the admin port failed');
  return problem(reply.code(500), {
    code: 'internal',
    message: 'A fault of Damselfly itself; the log has its details',
  });
}

function problem(reply: FastifyReply, body: AdminProblem): FastifyReply {
  return reply.send(body);
}
