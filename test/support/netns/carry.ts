import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { GroupProcess } from '../group-process.ts';
import type { NetHost } from './net-lab.ts';

const MAIN = fileURLToPath(new URL('stream-main.ts', import.meta.url));
const DEADLINE_MS = 60_000;

/** Bytes per second that plain TCP streams carry from one host to another. @param bytes of each stream. */
export async function carry(
  from: NetHost,
  to: NetHost,
  { bytes, streams = 1 }: { readonly bytes: number; readonly streams?: number },
): Promise<number> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const server = start(from, ['serve', from.address, String(bytes)]);
  try {
    const [port] = (await once(createInterface({ input: server.stdout }), 'line', { signal })) as [string];
    const client = start(to, ['get', from.address, port, String(streams)]);
    try {
      const result = JSON.parse(await until(signal, text(client.stdout))) as {
        bytes: number;
        seconds: number;
      };
      if (result.bytes !== bytes * streams)
        throw new Error(`${result.bytes} of ${bytes * streams} bytes came`);
      return result.bytes / result.seconds;
    } finally {
      await client.group.kill();
    }
  } finally {
    await server.group.kill();
  }
}

function start(host: NetHost, args: readonly string[]) {
  const group = new GroupProcess([...host.enter, process.execPath, MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { stdout } = group.child;
  if (stdout === null) throw new Error('no stdout');
  return { group, stdout };
}

async function until<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const late = once(signal, 'abort').then(() => Promise.reject(signal.reason));
  late.catch(() => undefined);
  return await Promise.race([work, late]);
}
