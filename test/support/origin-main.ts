import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { addImage, readImage } from './oci.ts';
import type { OriginAnnouncement, OriginSetup, RemoteCommand } from './origin/remote.ts';
import { startOrigin, type TestOrigin } from './origin.ts';

const USAGE = `node test/support/origin-main.ts [--json SETUP] [--with-parent]
  SETUP          OriginSetup of origin/remote.ts, e.g. {"repositories":{"lab/app":{"blobs":[{"size":1048576,"seed":1}]}}}
  --with-parent  ends when stdin does
Prints its addresses as one line of JSON, then answers the commands (RemoteCommand) that come on stdin, a line each.`;

let args: { json?: string; 'with-parent'?: boolean };
try {
  ({ values: args } = parseArgs({
    options: { json: { type: 'string' }, 'with-parent': { type: 'boolean' } },
  }));
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exit(2);
}

const { origin, setup } = await start(args.json ?? '{}').catch((error: Error) => {
  console.error(`cannot start: ${error.message}`);
  process.exit(1);
});

let isClosing = false;
const close = async (): Promise<void> => {
  if (isClosing) return;
  isClosing = true;
  await origin.close();
  process.exit(0);
};
process.once('SIGTERM', () => void close());
process.once('SIGINT', () => void close());

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void answer(line));
if (args['with-parent']) lines.once('close', () => void close());
console.log(JSON.stringify(announce()));

async function start(json: string): Promise<{ origin: TestOrigin; setup: OriginSetup }> {
  const parsed = JSON.parse(json) as OriginSetup;
  const started = await startOrigin(parsed);
  for (const [name, { blobs = [], files = [], layouts = {}, ...options }] of Object.entries(
    parsed.repositories ?? {},
  )) {
    const repository = started.repository(name, options);
    for (const blob of blobs) repository.addBlob(blob);
    for (const file of files) await repository.addFile(file);
    for (const [tag, layout] of Object.entries(layouts)) {
      await addImage(repository, await readImage(layout), tag);
    }
  }
  return { origin: started, setup: parsed };
}

function announce(): OriginAnnouncement {
  const repositories = Object.keys(setup.repositories ?? {}).map((name) => {
    const repository = origin.repository(name);
    const blobs = [...repository.blobs.values()].map(({ digest, size, path }) => ({ digest, size, path }));
    return [name, { blobs, tags: Object.fromEntries(repository.tags) }] as const;
  });
  const { url, host, cdnUrl, tokenUrl } = origin;
  return { url, host, cdnUrl, tokenUrl, pid: process.pid, repositories: Object.fromEntries(repositories) };
}

async function answer(line: string): Promise<void> {
  let id: unknown;
  try {
    const command = JSON.parse(line) as RemoteCommand & { id?: unknown };
    id = command.id;
    const result = await obey(origin, command);
    console.log(JSON.stringify({ id, result: result ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ id, error: (error as Error).message }));
  }
}

function obey(at: TestOrigin, command: RemoteCommand): unknown {
  switch (command.do) {
    case 'bytes-sent':
      return at.bytesSent(command.filter);
    case 'requests':
      return at.find(command.filter ?? {});
    case 'reset':
      return at.reset();
    case 'idle':
      return at.idle();
    case 'down':
      return at.down();
    case 'up':
      return at.up();
    case 'cut':
      return at.cutConnections();
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    }
    case 'expire-tokens':
      return at.auth.expireTokens();
    case 'clear-faults':
      return at.clearFaults();
    case 'fault': {
      const { match: { pattern, path, ...match } = {}, action } = command.rule;
      const where = pattern === undefined ? path : new RegExp(pattern);
      at.fault({ match: { ...match, ...(where === undefined ? {} : { path: where }) }, action });
      return null;
    }
    case 'bandwidth':
      at.bytesPerSecond = command.bytesPerSecond ?? undefined;
      return null;
    case 'redirect':
      at.redirect = command.options ?? undefined;
      return null;
    default:
      throw new Error('no such command');
  }
}
