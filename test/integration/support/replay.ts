import { type HttpAnswer, httpGet, keepAlive } from '../../support/http-get.ts';
import { seededBytes } from '../../support/origin.ts';
import { rangeHeader, type TraceRequest, traceSpan } from '../../support/trace.ts';

export interface ReplayedRequest {
  /** Where the request goes: the proxy. */
  readonly url: string;
  /** Request target, when it is not path and query of the URL. */
  readonly target?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly request: TraceRequest;
  /** For a blob: what its bytes must be. */
  readonly expected?: { readonly seed: string; readonly size: number };
  /** The client hangs up after so many body bytes. */
  readonly hangUpAfterBytes?: number;
}

/**
 * Sends requests in their recorded order, `lanes` at once as fast as answers come, and checks every body byte of a
 * blob. Kept-alive connections are shared, except by requests that hang up.
 * @throws at the first wrong status or byte.
 */
export async function replay(requests: readonly ReplayedRequest[], lanes: number): Promise<void> {
  const agent = keepAlive({ maxSockets: lanes });
  const queue = requests.values();
  const lane = async (): Promise<void> => {
    for (const request of queue) await replayOne(request, agent.http);
  };
  try {
    await Promise.all(Array.from({ length: lanes }, lane));
  } finally {
    agent.destroy();
  }
}

async function replayOne(one: ReplayedRequest, agent: ReturnType<typeof keepAlive>['http']): Promise<void> {
  const { expected, hangUpAfterBytes, request } = one;
  const range = rangeHeader(request);
  const what = `${request.method} ${request.path} ${range ?? ''}`;
  let at = request.range?.[0] ?? 0;
  let wrongAt: number | undefined;
  const answer = await httpGet(one.url, {
    method: request.method,
    headers: range === undefined ? one.headers : { ...one.headers, range },
    ...(one.target === undefined ? {} : { target: one.target }),
    ...(hangUpAfterBytes === undefined ? { agent } : { abortAfterBytes: hangUpAfterBytes }),
    onChunk: (chunk) => {
      if (expected === undefined) return;
      const right = seededBytes(expected.seed, { start: at, end: at + chunk.length });
      if (chunk.compare(right) !== 0) wrongAt ??= at;
      at += chunk.length;
    },
    timeoutMs: 60_000,
  });
  checkStatus(what, answer, request, expected?.size);
  if (expected === undefined || answer.status === 416) return;
  if (wrongAt !== undefined) throw new Error(`${what}: wrong bytes at or after ${wrongAt}`);
  const { start, end } = traceSpan(request, expected.size);
  const wanted = Math.min(end - start, hangUpAfterBytes ?? Number.POSITIVE_INFINITY);
  if (answer.bytes !== wanted) throw new Error(`${what}: ${answer.bytes} bytes came, not ${wanted}`);
}

function checkStatus(
  what: string,
  answer: HttpAnswer,
  request: TraceRequest,
  size: number | undefined,
): void {
  const right = rightStatuses(request, size);
  if (!right.includes(answer.status))
    throw new Error(`${what}: status ${answer.status}, not ${right.join(' or ')}`);
}

function rightStatuses(request: TraceRequest, size: number | undefined): readonly number[] {
  if (request.range === null) return [200];
  // containerd asks for the chunk that would come next, past the end.
  if (size !== undefined && request.range[0] >= size) return [416];
  // A manifest may be answered whole: some registries answer 400 to a range on one, so a proxy may ignore it.
  return request.path.includes('/blobs/') ? [206] : [200, 206];
}
