import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * What a test started and must be rid of afterwards, undone in reverse order, every step even when one of them fails.
 * Close it in `after`, which node:test runs after a failure too.
 */
export class Scope {
  readonly #undo: (() => unknown)[] = [];

  defer(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  async folder(name: string): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), `damselfly-e2e-${name}-`));
    this.defer(() => rm(path, { recursive: true, force: true }));
    return path;
  }

  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop()) {
      try {
        await undo();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, `could not clean up: ${errors.join('; ')}`);
  }
}
