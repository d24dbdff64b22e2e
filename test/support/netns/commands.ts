import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TIMEOUT_MS = 20_000;

/** Debian keeps ip and tc in folders that a user's PATH has not. */
export const TOOL_ENV: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
};

/** @returns what `ip` printed. @throws with what it said on stderr. */
export function ip(...args: readonly string[]): Promise<string> {
  return tool('ip', args);
}

export function tc(...args: readonly string[]): Promise<string> {
  return tool('tc', args);
}

async function tool(name: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(name, args, { env: TOOL_ENV, timeout: TIMEOUT_MS, killSignal: 'SIGKILL' });
    return stdout;
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    throw new Error(`${name} ${args.join(' ')}: ${stderr.trim() || message}`, { cause: error });
  }
}
