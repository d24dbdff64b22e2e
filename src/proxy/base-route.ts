import { LRUCache } from 'lru-cache';
import type { OriginId } from '../blob/upstream.ts';
import type { Call } from './call.ts';
import type { Forwardable, ForwardRoute } from './forward-route.ts';

/** How long an origin's anonymous `/v2/` answer is taken for its word. */
const TTL_MS = 5 * 60_000;
const MAX_ORIGINS = 1_000;
/** Answers are short: 200 with `{}`, or 401 with a challenge and an error document. */
const MAX_BODY_BYTES = 16 * 1024;

/** The length is counted anew; a session is one client's and not everybody's. */
const NOT_KEPT: ReadonlySet<string> = new Set(['content-length', 'set-cookie']);

const NEUTRAL_HEADERS: readonly string[] = [
  'User-Agent',
  'damselfly',
  'Accept',
  '*/*',
  'Accept-Encoding',
  'identity',
];

interface BaseAnswer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
}

/**
 * `GET /v2/`: the origin's own answer, since podman and Docker take the auth challenge from it and from nowhere else.
 * The anonymous one is kept per origin; one with a credential is the requester's and passes through. What is kept is
 * asked for with nothing of the request that happened to be the first: registries build the realm, to which everybody's
 * password goes next, from `X-Forwarded-Host` and the like.
 */
export class BaseRoute {
  readonly #forward: ForwardRoute;
  /** Stale ones are kept for when the origin is down: a challenge does not change. */
  readonly #answers = new LRUCache<OriginId, BaseAnswer>({
    max: MAX_ORIGINS,
    ttl: TTL_MS,
    allowStale: true,
    noDeleteOnStaleGet: true,
  });

  constructor(forward: ForwardRoute) {
    this.#forward = forward;
  }

  async handle(call: Call, target: Forwardable): Promise<void> {
    const anonymous = call.header('authorization') === undefined && call.header('cookie') === undefined;
    const isRead = call.request.method === 'GET' || call.request.method === 'HEAD';
    if (!anonymous || !isRead || target.target.includes('?')) {
      await this.#forward.handle(call, target);
      return;
    }
    const kept = this.#answers.get(target.origin);
    const { namespace } = target;
    if (kept !== undefined && this.#answers.getRemainingTTL(target.origin) > 0)
      return this.#answer(call, kept, namespace);
    try {
      const neutral = { ...target, namespace: undefined, method: 'GET', rawHeaders: NEUTRAL_HEADERS };
      const answer = await this.#forward.gather(call, neutral, MAX_BODY_BYTES);
      if (answer.status === 200 || answer.status === 401) this.#answers.set(target.origin, answer);
      this.#answer(call, answer, namespace);
    } catch (error) {
      if (kept === undefined || call.response.destroyed) throw error;
      this.#answer(call, kept, namespace);
    }
  }

  #answer(call: Call, { status, rawHeaders, body }: BaseAnswer, namespace: string | undefined): void {
    const lines: string[] = [];
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      if (!NOT_KEPT.has(rawHeaders[i]?.toLowerCase() ?? ''))
        lines.push(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
    }
    if (namespace !== undefined) lines.push('OCI-Namespace', namespace);
    if (status === 401) call.end('refused');
    call.writeHead(status, [...lines, 'Content-Length', String(body.length)]);
    call.response.end(call.isHead ? undefined : body);
  }
}
