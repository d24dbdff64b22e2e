import { type Found, ok, warning } from '../check.ts';

const MEANT_MAJOR = 24;
const WANTED_THREADS = 8;

export interface RuntimeWorld {
  /** `24.21.0`. */
  readonly nodeVersion: string;
  /** UV_THREADPOOL_SIZE as the launcher left it. */
  readonly threads: string | undefined;
  hasSendfile(): Promise<boolean>;
}

/** What the node runs on. A too old Node never gets here: the launcher refuses it. */
export async function checkRuntime(world: RuntimeWorld): Promise<Found[]> {
  const { nodeVersion, threads } = world;
  const major = Number(nodeVersion.split('.')[0]);
  const found = [
    major >= MEANT_MAJOR
      ? ok('Node', nodeVersion)
      : warning(
          'Node',
          `${nodeVersion} works, and ${MEANT_MAJOR} is meant and tested`,
          `Run it with Node ${MEANT_MAJOR}`,
        ),
  ];
  found.push(
    Number(threads) >= WANTED_THREADS
      ? ok('threads', `UV_THREADPOOL_SIZE is ${threads}`)
      : warning(
          'threads',
          `UV_THREADPOOL_SIZE is ${threads}: the disk work of many clients queues up`,
          'Leave it unset (16), or set it to 8 or more',
        ),
  );
  found.push(
    (await world.hasSendfile())
      ? ok('sendfile', 'sendfile(2) works here')
      : warning(
          'sendfile',
          'sendfile(2) cannot be used: bodies are copied, which costs more CPU',
          'Install the koffi package for this platform (npm ci), on Linux',
        ),
  );
  return found;
}
