import { timingSafeEqual } from 'node:crypto';
import { Readable } from 'node:stream';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { z } from 'zod';
import { DamselflyError } from '../errors.ts';
import type { PrefetchEvent, PrefetchRequest } from './prefetch-events.ts';
import { type StatusPorts, statusDocument } from './status-document.ts';

/** Prefetch jobs at once: each reads several blobs. */
export const MAX_PREFETCH_JOBS = 4;

export interface AdminPorts extends StatusPorts {
  /** Undefined: no token is asked for. */
  readonly token: string | undefined;
  prefetchImage(request: PrefetchRequest, signal: AbortSignal): AsyncIterable<PrefetchEvent>;
}

const prefetchBody = z.strictObject({
  reference: z.string().min(1).max(2048),
  platform: z.string().min(1).max(128).optional(),
});

/** Health, status and prefetch on the admin port (the contract, "Ports"). */
export function adminApp(ports: AdminPorts, jobs: { running: number }): FastifyInstance {
  const app = fastify({ logger: false, bodyLimit: 64 * 1024 });
  app.setErrorHandler((error, _request, reply) => {
    const known = error instanceof DamselflyError ? error : requestFault(error);
    return reply.code(known.status).send({ code: known.code, message: known.message });
  });
  app.setNotFoundHandler((_request, reply) =>
    reply
      .code(404)
      .send({ code: 'request-malformed', message: 'There is nothing here: see /api/v1/status and /healthy' }),
  );
  app.get('/healthy', (_request, reply) => {
    const { healthy, reasons } = ports.health();
    return reply
      .code(healthy ? 200 : 503)
      .type('text/plain')
      .send(healthy ? 'ok\n' : `${reasons.join('\n')}\n`);
  });
  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(page(ports.version)));
  app.get('/api/v1/status', () => statusDocument(ports));
  app.post('/api/v1/prefetch', async (request, reply) => {
    authorise(request, ports.token);
    const parsed = prefetchBody.safeParse(request.body);
    if (!parsed.success) {
      throw new DamselflyError(
        'request-malformed',
        'The body is {"reference": "host/repository:tag", "platform"?: "linux/amd64"}',
      );
    }
    if (jobs.running >= MAX_PREFETCH_JOBS) {
      throw new DamselflyError(
        'prefetch-busy',
        `${MAX_PREFETCH_JOBS} prefetch jobs are running already: wait for one to end`,
      );
    }
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort(new DOMException('the client hung up', 'AbortError')));
    jobs.running += 1;
    const lines = Readable.from(asLines(ports.prefetchImage(parsed.data, gone.signal)));
    lines.once('close', () => {
      jobs.running -= 1;
    });
    return reply.type('application/x-ndjson').send(lines);
  });
  return app;
}

async function* asLines(events: AsyncIterable<PrefetchEvent>): AsyncGenerator<string> {
  for await (const event of events) yield `${JSON.stringify(event)}\n`;
}

/** @throws DamselflyError token-required. */
function authorise(request: FastifyRequest, token: string | undefined): void {
  if (token === undefined) return;
  const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (given === undefined)
    throw new DamselflyError(
      'token-required',
      'This needs Authorization: Bearer with the token of admin.tokenFile',
    );
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  if (a.length !== b.length || !timingSafeEqual(a, b))
    throw new DamselflyError('token-required', 'The token is not the one of admin.tokenFile');
}

function requestFault(error: unknown): DamselflyError {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
  return status < 500
    ? new DamselflyError(
        'request-malformed',
        'The request cannot be understood: send JSON with Content-Type: application/json',
        { cause: error },
      )
    : new DamselflyError('internal', 'A fault of Damselfly itself; the log has its details', {
        cause: error,
      });
}

function page(version: string): string {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Damselfly ${version}</title>
<h1>Damselfly ${version}</h1>
<p>This node is running. What it did: <a href="/api/v1/status">status (JSON)</a>. Health: <a href="/healthy">healthy</a>.</p>
</html>
`;
}
