import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { DamselflyError } from '../errors.ts';
import { type InventoryQuery, MAX_PAGE_BLOBS } from '../store/inventory.ts';
import type {
  BlobsDocument,
  CacheGcEvent,
  CacheRemoveEvent,
  CacheVerifyEvent,
  GcRequest,
  RemoveRequest,
  VerifyRequest,
} from './cache-events.ts';
import { checkCaller } from './caller.ts';
import { streamJob } from './job-stream.ts';

const DEFAULT_PAGE_BLOBS = 100;
const MAX_DIGESTS = 500;

/** What the admin port, and the command line on a directory that no node uses, have done with a cache. */
export interface CacheKeeper {
  blobs(query: InventoryQuery): Promise<BlobsDocument>;
  /** These throw what is wrong with the request at once; whatever comes later is the last event. */
  verify(request: VerifyRequest, signal: AbortSignal): AsyncGenerator<CacheVerifyEvent>;
  collect(request: GcRequest, signal: AbortSignal): AsyncGenerator<CacheGcEvent>;
  remove(request: RemoveRequest, signal: AbortSignal): AsyncGenerator<CacheRemoveEvent>;
}

const digests = z.array(z.string().min(1).max(200)).min(1).max(MAX_DIGESTS);
const verifyBody = z.strictObject({
  digests: digests.optional(),
  bytesPerSecond: z.number().positive().optional(),
});
const gcBody = z.strictObject({
  olderThanMs: z.number().nonnegative().optional(),
  maxBytes: z.number().nonnegative().optional(),
});
const removeBody = z
  .strictObject({ digests: digests.optional(), all: z.boolean().optional() })
  .refine((body) => (body.digests === undefined) === (body.all === true), {
    message: 'either "digests" or "all": true',
  });
const blobsQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(MAX_PAGE_BLOBS).default(DEFAULT_PAGE_BLOBS),
  after: z.string().max(300).optional(),
  digest: z.string().max(200).optional(),
});

/**
 * Routes for what the cache holds and for looking after it. All of them ask who calls, the list too: it names private
 * repositories.
 */
export function cacheRoutes(
  app: FastifyInstance,
  options: {
    readonly keeper: CacheKeeper;
    readonly token: string | undefined;
    readonly stopping: AbortSignal;
  },
): void {
  const { keeper, token, stopping } = options;
  const guarded = {
    onRequest: async (request: Parameters<typeof checkCaller>[0]) => checkCaller(request, token),
  };
  app.get('/api/v1/blobs', guarded, (request) => keeper.blobs(read(blobsQuery, request.query)));
  app.post('/api/v1/cache/verify', guarded, (request, reply) => {
    const wanted = read(verifyBody, request.body ?? {});
    return streamJob(reply, stopping, (signal) => keeper.verify(wanted, signal));
  });
  app.post('/api/v1/cache/gc', guarded, (request, reply) => {
    const wanted = read(gcBody, request.body ?? {});
    return streamJob(reply, stopping, (signal) => keeper.collect(wanted, signal));
  });
  app.post('/api/v1/cache/rm', guarded, (request, reply) => {
    const wanted = read(removeBody, request.body ?? {});
    return streamJob(reply, stopping, (signal) => keeper.remove(wanted, signal));
  });
}

/** @throws DamselflyError request-malformed. */
function read<T>(schema: z.ZodType<T>, value: unknown): T {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  const where = issue === undefined || issue.path.length === 0 ? 'the request' : issue.path.join('.');
  throw new DamselflyError('request-malformed', `${where}: ${issue?.message ?? 'not understood'}`);
}
