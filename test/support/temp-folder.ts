import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/** A folder of its own for one test, gone afterwards. */
export class TempFolder {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<TempFolder> {
    return new TempFolder(await mkdtemp(join(tmpdir(), 'damselfly-test-')));
  }

  file(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }
}

/**
 * @param t removes the folder when this test (or suite) is over; without it the caller does, by `remove()` or
 * `await using`.
 */
export async function tempFolder(t?: Pick<TestContext, 'after'>): Promise<TempFolder> {
  const folder = await TempFolder.make();
  t?.after(() => folder.remove());
  return folder;
}
