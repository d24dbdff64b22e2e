import type { ServerResponse } from 'node:http';
import type { DamselflyError, OriginRefusal } from '../errors.ts';
import { withoutHopByHop } from '../origin/headers.ts';
import { resetConnection } from './reset.ts';

/**
 * Answers with a fault of our own: its status and a body in the registry's error format, so that clients print it. A
 * response whose head has left already can only be reset: the status is spoken, and a clean end would be a lie.
 */
export function respondError(response: ServerResponse, error: DamselflyError): void {
  if (response.headersSent) {
    resetConnection(response);
    return;
  }
  const { lines, body } = errorAnswer(error);
  response.writeHead(error.status, lines);
  response.end(body);
}

/** Header lines and body of a fault of our own. */
export function errorAnswer(error: DamselflyError): { readonly lines: string[]; readonly body: Buffer } {
  const body = Buffer.from(
    `${JSON.stringify({ errors: [{ code: error.code, message: error.message }] })}\n`,
    'utf8',
  );
  const lines = ['Content-Type', 'application/json', 'Content-Length', String(body.length)];
  // nydusd reads a 403 of ours as its own kind of error by this header (clients.md 2.3); the origin's 403 has none.
  if (error.status === 403) lines.push('X-Dragonfly-Error-Type', 'proxy');
  if (error.status === 405) lines.push('Allow', 'GET, HEAD');
  return { lines, body };
}

/**
 * Passes the origin's own refusal on: its status, its header lines in their order and spelling (a challenge is read by
 * string comparison in old clients), and its body. Only what would be untrue on this hop is made anew.
 */
export function respondRefusal(response: ServerResponse, refusal: OriginRefusal): void {
  if (response.headersSent) {
    resetConnection(response);
    return;
  }
  const isHead = response.req.method === 'HEAD';
  const lines: string[] = [];
  const given = withoutHopByHop(refusal.rawHeaders);
  for (let i = 0; i + 1 < given.length; i += 2) {
    const name = given[i] ?? '';
    const lower = name.toLowerCase();
    // A GET that was asked as a HEAD has headers of a body that never came.
    if (!isHead && lower === 'content-length') continue;
    if (!isHead && lower === 'content-encoding' && refusal.body.length === 0) continue;
    lines.push(name, given[i + 1] ?? '');
  }
  if (!isHead) lines.push('Content-Length', String(refusal.body.length));
  response.writeHead(refusal.status, lines);
  response.end(isHead ? undefined : refusal.body);
}
