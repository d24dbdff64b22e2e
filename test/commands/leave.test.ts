import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

const MODULE = fileURLToPath(new URL('../../src/commands/leave.ts', import.meta.url));

/** Runs `script` in a process of its own. */
async function run(script: string): Promise<{ code: number | null; signal: string | null }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'ignore' });
  try {
    const [code, signal] = await once(child, 'exit', { signal: AbortSignal.timeout(20_000) });
    return { code, signal };
  } finally {
    child.kill('SIGKILL');
  }
}

it('ends with the code it was given', async () => {
  assert.deepEqual(await run(`import { leave } from ${JSON.stringify(MODULE)}; await leave(3);`), {
    code: 3,
    signal: null,
  });
});

it('ends a process whose threads are held by a call that does not come back', async () => {
  // A pipe that nobody opens for writing holds one thread of the pool, as a stopped disk would; exit(3) joins it.
  const { code, signal } = await run(`
    import { execFileSync } from 'node:child_process';
    import { mkdtempSync, open, rmSync } from 'node:fs';
    import { tmpdir } from 'node:os';
    import { join } from 'node:path';
    import { setImmediate } from 'node:timers/promises';
    import { leave } from ${JSON.stringify(MODULE)};
    const folder = mkdtempSync(join(tmpdir(), 'leave-'));
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    open(join(folder, 'pipe'), 'r', () => undefined);
    await setImmediate();
    execFileSync('sleep', ['0.2']);
    rmSync(folder, { recursive: true });
    await leave(0);`);
  assert.ok(code === 0 || signal === 'SIGALRM', `${code} ${signal}`);
});
