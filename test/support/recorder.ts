import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { listening } from './listening.ts';
import type { TraceRequest } from './trace.ts';

/** A request with what a replay has no use for, but a test may. */
export interface RecordedRequest extends TraceRequest {
  readonly userAgent: string;
  /** Of the answer; 0 when there was none. */
  readonly status: number;
}

/** A proxy on loopback that passes every request on to one server as it came, and writes down what it saw. */
export interface Recorder {
  readonly url: string;
  readonly host: string;
  readonly requests: readonly RecordedRequest[];
  close(): Promise<void>;
}

/** @param targetHost `host:port` of a plain-http server; requests in absolute form stay in it. */
export async function startRecorder(targetHost: string): Promise<Recorder> {
  const requests: RecordedRequest[] = [];
  const connections = new WeakMap<Socket, number>();
  // A target that closes each connection would have the clients do so too.
  const agent = new Agent({ keepAlive: true });
  let connectionCount = 0;
  let startedMs: number | undefined;
  const [host, port] = targetHost.split(':');

  const pass = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    startedMs ??= performance.now();
    const ms = Math.round(performance.now() - startedMs);
    const connection = connections.get(incoming.socket) ?? ++connectionCount;
    connections.set(incoming.socket, connection);
    const { ranges, range } = rangesOf(incoming.headers.range);
    const index = requests.length;
    const recorded: RecordedRequest = {
      ms,
      connection,
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      range,
      ...(ranges.length > 1 ? { ranges } : {}),
      userAgent: incoming.headers['user-agent'] ?? '',
      status: 0,
    };
    requests.push(recorded);
    const upstream = request({
      host,
      port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.rawHeaders,
      agent,
    });
    response.once('close', () => upstream.destroy());
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      upstream.once('response', resolve);
      upstream.once('error', reject);
    });
    incoming.pipe(upstream);
    const answer = await answered;
    requests[index] = { ...recorded, status: answer.statusCode ?? 0 };
    response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    await pipeline(answer, response);
  };
  // A client that hangs up, and a target that does, end the other side the same way.
  const server = createServer((incoming, response) => {
    pass(incoming, response).catch(() => response.destroy());
  });
  const { url, host: ownHost, close: closeServer } = await listening(server);
  const close = async (): Promise<void> => {
    await closeServer();
    agent.destroy();
  };
  return { url, host: ownHost, requests, close };
}

/** All ranges of a header with closed ones, and the span from the first to the last byte that it names. */
function rangesOf(header: string | undefined): {
  readonly ranges: readonly (readonly [number, number | null])[];
  readonly range: TraceRequest['range'];
} {
  const ranges = [...(header ?? '').matchAll(/(\d+)-(\d*)/g)].map(
    ([, first, last]) => [Number(first), last === '' ? null : Number(last)] as const,
  );
  const [only] = ranges;
  if (only === undefined || ranges.length === 1) return { ranges, range: only ?? null };
  const ends = ranges.map(([, last]) => last);
  const last = ends.includes(null) ? null : Math.max(...ends.map(Number));
  return { ranges, range: [Math.min(...ranges.map(([first]) => first)), last] };
}
