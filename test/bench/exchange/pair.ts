import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { Identity } from '../../../peer/identity/identity.ts';
import { generateKeyFile } from '../../../peer/identity/network-key.ts';
import { cpuSeconds } from '../measure.ts';
import type { Stage } from '../stage.ts';
import type { HolderSetup, ReaderSetup, ReadJob, ReadResult, Way } from './job.ts';

/** A holder and a reader, each a process, on loopback. */
export class Pair {
  readonly #holder: ChildProcess;
  readonly #reader: ChildProcess;

  private constructor(holder: ChildProcess, reader: ChildProcess) {
    this.#holder = holder;
    this.#reader = reader;
  }

  static async start(stage: Stage, way: Way): Promise<Pair> {
    const [holder, reader] = [start(stage), start(stage)];
    const [holds, reads] = [Identity.generate(), Identity.generate()];
    const networkKey = generateKeyFile();
    const port = (await tell(holder, { role: 'holder', way, identity: holds.toPem(), networkKey })) as number;
    const file = join(await stage.scope.folder('pieces'), 'pieces');
    const identity = reads.toPem();
    await tell(reader, { role: 'reader', way, identity, networkKey, holder: { id: holds.id, port }, file });
    return new Pair(holder, reader);
  }

  /** CPU seconds are those of both processes while they worked. */
  async read(job: Omit<ReadJob, 'role'>): Promise<ReadResult & { holderCpu: number; readerCpu: number }> {
    const before = [cpuOf(this.#holder), cpuOf(this.#reader)] as const;
    const result = (await tell(this.#reader, { role: 'read', ...job })) as ReadResult;
    return {
      ...result,
      holderCpu: cpuOf(this.#holder) - before[0],
      readerCpu: cpuOf(this.#reader) - before[1],
    };
  }
}

function start({ scope }: Stage): ChildProcess {
  const child = fork(join(import.meta.dirname, 'main.ts'), { serialization: 'advanced' });
  scope.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await gone;
  });
  return child;
}

function tell(child: ChildProcess, message: HolderSetup | ReaderSetup | ReadJob): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error('a process of the pair has ended'));
    child.once('exit', onExit);
    child.once('message', (said: { answer?: unknown; error?: string }) => {
      child.off('exit', onExit);
      if (said.error === undefined) resolve(said.answer);
      else reject(new Error(said.error));
    });
    child.send(message);
  });
}

function cpuOf(child: ChildProcess): number {
  return child.pid === undefined ? 0 : cpuSeconds(child.pid);
}
