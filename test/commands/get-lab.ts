import { access, stat } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { after, before, beforeEach, type TestContext } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type Listening, listening, refusingAddress } from '../support/listening.ts';
import { seededBytes, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type CliOptions, type CliResult, type Running, runCli, startCli } from './run-cli.ts';

export const SIZE: number = 3 * 2 ** 20 + 12345;
export const BYTES: Buffer = seededBytes('get', { start: 0, end: SIZE });

/** What the tests of `get` without a node share: an origin, a blob in it, and a folder. */
export interface GetLab {
  readonly origin: TestOrigin;
  readonly blob: TestBlob;
  /** Of the blob. */
  readonly url: string;
  /** An address where no node runs. */
  readonly nowhere: string;
  readonly folder: TempFolder;
  /** A file that is not there yet. */
  output(): string;
  get(target: string, file: string, more?: readonly string[], options?: CliOptions): Promise<CliResult>;
  /** Begins to download the blob, from an origin that stalls on the way. */
  begin(file: string): Promise<Running>;
}

/** Makes the lab before the tests of a file and takes it down after them; the origin is reset before each. */
export function getLab(): GetLab {
  let made: Omit<GetLab, 'output' | 'get' | 'begin'> | undefined;
  let count = 0;
  const lab = (): Omit<GetLab, 'output' | 'get' | 'begin'> => {
    if (made === undefined) throw new Error('the lab is made before the first test');
    return made;
  };
  before(async () => {
    const origin = await startOrigin();
    const blob = origin.repository('app').addBlob({ size: SIZE, seed: 'get' });
    const [nowhere, folder] = await Promise.all([refusingAddress(), tempFolder()]);
    made = { origin, blob, url: origin.url + blob.path, nowhere, folder };
  });
  beforeEach(() => {
    lab().origin.reset();
    lab().origin.redirect = undefined;
  });
  after(async () => {
    await lab().origin.close();
    await lab().folder.remove();
  });
  return {
    get origin() {
      return lab().origin;
    },
    get blob() {
      return lab().blob;
    },
    get url() {
      return lab().url;
    },
    get nowhere() {
      return lab().nowhere;
    },
    get folder() {
      return lab().folder;
    },
    output() {
      count += 1;
      return lab().folder.file(`out-${count}`);
    },
    get: (target, file, more = [], options = {}) =>
      runCli(['get', target, '-O', file, '--node', lab().nowhere, ...more], options),
    async begin(file) {
      lab().origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { stallAtByte: 2 ** 20 } });
      const running = startCli(['get', lab().url, '-O', file, '--node', lab().nowhere]);
      await running.shows(/begins/);
      return running;
    },
  };
}

/** Ends a download once something of it is on the disk. */
export async function stopHalfway(running: Running, file: string): Promise<CliResult> {
  await eventually(async () => (await stat(`${file}.partial`)).size > 0);
  running.kill('SIGINT');
  running.kill('SIGTERM');
  return running.result;
}

export async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** What is there of a file and its download. */
export async function left(file: string): Promise<string[]> {
  const names = [file, `${file}.partial`, `${file}.partial.state`];
  const there = await Promise.all(names.map(exists));
  return names.filter((_, index) => there[index]);
}

/** A server of one object, or whatever the listener makes of it. */
export async function serveObject(t: TestContext, listener: RequestListener): Promise<Listening> {
  const server = await listening(createServer(listener));
  t.after(() => server.close());
  return server;
}
