import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { asLines } from './event-lines.ts';

/**
 * Answers with the events of a job as NDJSON. The job is told to end when the client hangs up or the node stops.
 * @param start called once; what it throws is the answer instead.
 * @param over called once when the stream is over, however that came; before the client has the end of it.
 */
export function streamJob(
  reply: FastifyReply,
  stopping: AbortSignal,
  start: (signal: AbortSignal) => AsyncGenerator<object>,
  over: () => void = () => undefined,
): FastifyReply {
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, stopping]);
  const events = start(signal);
  reply.raw.once('close', () => gone.abort(new DOMException('the client hung up', 'AbortError')));
  let isOver = false;
  const end = (): void => {
    if (!isOver) over();
    isOver = true;
  };
  const lines = Readable.from(asLines(events));
  lines.once('end', end).once('close', end);
  return reply.type('application/x-ndjson').send(lines);
}
