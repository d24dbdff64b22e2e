import { execFile } from 'node:child_process';

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Runs a program to its end and tells how it went, whatever its exit code. Past its time it is killed and throws. */
export async function tryCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  return await new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      {
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 64 << 20,
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
      },
      (error, stdout, stderr) => {
        if (error === null) resolve({ exitCode: 0, stdout, stderr });
        else if (error.killed) reject(new Error(`${command} did not end within ${timeoutMs} ms:\n${stderr}`));
        else if (typeof error.code === 'number') resolve({ exitCode: error.code, stdout, stderr });
        else reject(error);
      },
    );
  });
}

/** Runs a program that must succeed. @returns its standard output. */
export async function command(
  name: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { exitCode, stdout, stderr } = await tryCommand(name, args, options);
  if (exitCode !== 0) {
    throw new Error(`${name} ${args.join(' ')}: exit code ${exitCode}\n${stderr}\n${stdout}`);
  }
  return stdout;
}
