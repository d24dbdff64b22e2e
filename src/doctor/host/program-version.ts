import { execFile } from 'node:child_process';
import { versionIn } from '../../../config/clients/version.ts';

const TIMEOUT_MS = 3_000;

/** What `program --version` says, `2.4.4`; undefined when there is no such program, or it says something else. */
export function programVersion(program: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: 64 * 1024, signal } as const;
    execFile(program, ['--version'], options, (_error, stdout, stderr) => {
      resolve(versionIn(`${stdout}\n${stderr}`));
    });
  });
}
