import { createInterface } from 'node:readline';
import { BlobReader } from './blob-reader.ts';
import type { AgentCommand, FetchResult } from './read-job.ts';

// The client beside a node, in the node's own network: answers the commands (AgentCommand) that come on stdin, a line
// of JSON each, and ends when stdin does.
const reader = new BlobReader();
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void answer(line));
lines.once('close', () => process.exit(0));

async function answer(line: string): Promise<void> {
  const { id, ...command } = JSON.parse(line) as AgentCommand & { readonly id: number };
  try {
    console.log(JSON.stringify({ id, result: (await obey(command)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ id, error: (error as Error).message }));
  }
}

async function obey(command: AgentCommand): Promise<unknown> {
  switch (command.do) {
    case 'fetch':
      return await get(command.url, command.timeoutMs);
    case 'read':
      return await reader.read(command.job);
    case 'progress':
      return reader.bytes;
    case 'abandon':
      return reader.abandon();
    default:
      throw new Error('no such command');
  }
}

async function get(url: string, timeoutMs: number): Promise<FetchResult> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
  return { status: response.status, body: await response.text() };
}
