import { spawn } from 'node:child_process';
import { z } from 'zod';
import type { Login } from './login.ts';

/** Helpers ask keychains and cloud services; past this the registry's answer would be late. */
const TIMEOUT_MS = 5_000;
const MAX_OUTPUT_BYTES = 64 * 1024;

const answerShape = z.object({ Username: z.string(), Secret: z.string() });

/** What a helper says as its user name when its secret is an identity token. */
const TOKEN_USER = '<token>';

/**
 * Asks `docker-credential-<name> get` for a server's login (the protocol of docker-credential-helpers: the server on
 * stdin, JSON on stdout).
 * @returns null when the helper has none (it exits with a failure then). Its output is never part of an error.
 */
export async function askHelper(name: string, server: string, signal: AbortSignal): Promise<Login | null> {
  // The name comes from a file that others write; it must stay the last part of a program's name.
  if (!/^[a-z0-9][a-z0-9._-]*$/i.test(name)) throw new Error('the helper has no usable name');
  const output = await run(
    `docker-credential-${name}`,
    server,
    AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  );
  if (output === null) return null;
  const { Username: user, Secret: secret } = readAnswer(output);
  if (user === TOKEN_USER) return { kind: 'identity', token: secret };
  return { kind: 'password', user, password: secret };
}

function readAnswer(output: string): z.output<typeof answerShape> {
  try {
    return answerShape.parse(JSON.parse(output));
  } catch {
    throw new Error('it did not answer with a user name and a secret');
  }
}

function run(program: string, input: string, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      signal,
      killSignal: 'SIGKILL',
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.on('error', (error: NodeJS.ErrnoException) => {
      reject(
        new Error(
          error.code === 'ABORT_ERR' ? `it did not answer within ${TIMEOUT_MS} ms` : String(error.code),
        ),
      );
    });
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_OUTPUT_BYTES) chunks.push(chunk);
      else child.kill('SIGKILL');
    });
    child.on('close', (code) => {
      if (bytes > MAX_OUTPUT_BYTES) reject(new Error('it answered with too many bytes'));
      else resolve(code === 0 ? Buffer.concat(chunks).toString('utf8') : null);
    });
    // A helper that exits at once closes its end first.
    child.stdin.on('error', () => undefined);
    child.stdin.end(`${input}\n`);
  });
}
