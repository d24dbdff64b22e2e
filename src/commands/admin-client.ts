import { readFileSync } from 'node:fs';
import { Agent, type Dispatcher } from 'undici';
import type { AdminProblem } from '../admin/prefetch-events.ts';
import { DamselflyError, ERRORS, type ErrorCode } from '../errors.ts';
import { reasonOf } from './failure.ts';
import type { FoundNode } from './node-address.ts';

/** The node is on this host or near: a connection that takes longer is none. */
const CONNECT_TIMEOUT_MS = 2_000;
const HEADERS_TIMEOUT_MS = 30_000;
/** The node writes a prefetch event about twice a second. */
const BODY_TIMEOUT_MS = 60_000;
/** A status document or a problem; a bound against whatever else listens there. */
const MAX_DOCUMENT_BYTES = 8 * 2 ** 20;

export interface AdminClient {
  /** @throws DamselflyError node-unreachable, or the node's own answer when it is not 2xx. */
  getJson(path: string, signal: AbortSignal, options?: { readonly withToken?: boolean }): Promise<unknown>;
  /** The lines of an NDJSON answer, each parsed. @throws as getJson. */
  postLines(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<unknown>;
  close(): Promise<void>;
}

export function adminClient(node: FoundNode): AdminClient {
  const agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: BODY_TIMEOUT_MS,
  });
  const { admin } = node;
  if (admin?.kind !== 'tcp')
    throw new DamselflyError(
      'node-unreachable',
      'admin.listen has port 0, so the address is known to the running node only. Name it with --admin HOST:PORT',
    );
  const origin = `http://${admin.host}`;

  async function ask(options: Omit<Dispatcher.RequestOptions, 'origin'>): Promise<Dispatcher.ResponseData> {
    let answer: Dispatcher.ResponseData;
    try {
      answer = await agent.request({ origin, ...options });
    } catch (cause) {
      throw unreachable(node, cause);
    }
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer;
    throw problemOf(node, answer.statusCode, await readDocument(node, answer.body).catch(() => ''));
  }

  return {
    async getJson(path, signal, { withToken = false } = {}) {
      const token = withToken ? authorization(node) : {};
      const headers = { accept: 'application/json', ...token };
      const { body } = await ask({ path, method: 'GET', headers, signal });
      return parseJson(node, await readDocument(node, body));
    },
    async *postLines(path, document, signal) {
      const { body } = await ask({
        path,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/x-ndjson',
          ...authorization(node),
        },
        body: JSON.stringify(document),
        signal,
      });
      let rest = '';
      try {
        for await (const chunk of body.setEncoding('utf8') as AsyncIterable<string>) {
          const lines = (rest + chunk).split('\n');
          rest = lines.pop() ?? '';
          if (rest.length > MAX_DOCUMENT_BYTES) throw notDamselfly(node);
          for (const line of lines) if (line.trim() !== '') yield parseJson(node, line);
        }
      } catch (cause) {
        if (cause instanceof DamselflyError || signal.aborted) throw cause;
        throw unreachable(node, cause);
      }
      if (rest.trim() !== '') yield parseJson(node, rest);
    },
    close: () => agent.destroy(),
  };
}

function authorization({ config }: FoundNode): Record<string, string> {
  const { tokenFile } = config.admin;
  if (tokenFile === undefined) return {};
  try {
    return { authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}` };
  } catch {
    // The node will say that a token is needed, which is the better message for a user without the right to read it.
    return {};
  }
}

async function readDocument(node: FoundNode, body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_DOCUMENT_BYTES) throw notDamselfly(node);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(node: FoundNode, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw notDamselfly(node);
  }
}

function problemOf(node: FoundNode, status: number, text: string): DamselflyError {
  let problem: Partial<AdminProblem> = {};
  try {
    problem = JSON.parse(text) as Partial<AdminProblem>;
  } catch {
    // Not ours: the status alone is told.
  }
  const { code, message } = problem;
  if (typeof code === 'string' && code in ERRORS && typeof message === 'string')
    return new DamselflyError(code as ErrorCode, message);
  return new DamselflyError(
    'node-unreachable',
    `${node.adminText} answered ${status}. Is it the admin address of a Damselfly of this version? Name it with --admin HOST:PORT`,
  );
}

function unreachable(node: FoundNode, cause: unknown): DamselflyError {
  return new DamselflyError(
    'node-unreachable',
    `no node answers at ${node.adminText} (${reasonOf(cause)}). Start one with "damselfly serve", or name its address with --admin HOST:PORT`,
    { cause },
  );
}

function notDamselfly(node: FoundNode): DamselflyError {
  return new DamselflyError(
    'node-unreachable',
    `what answers at ${node.adminText} is no Damselfly. Name the admin address with --admin HOST:PORT`,
  );
}
