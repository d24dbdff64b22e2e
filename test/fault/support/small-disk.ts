import { execFile } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TempFolder } from '../../support/temp-folder.ts';

const run = promisify(execFile);
const TIMEOUT = { timeout: 10_000 };

/** Why a test that mounts is left out here; false where it can run. */
export const cannotMount: string | false =
  process.platform === 'linux' && process.getuid?.() === 0 ? false : 'mounting a file system needs root';

/** A file system of its own in memory, and something of others on it that takes room away. */
export class SmallDisk implements AsyncDisposable {
  readonly path: string;
  readonly #folder: TempFolder;
  #ballast = 0;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
    this.path = folder.file('disk');
  }

  /** @param options of tmpfs(5), such as `size=16m` and `nr_inodes=64`. */
  static async mount(options: string): Promise<SmallDisk> {
    const disk = new SmallDisk(await TempFolder.make());
    mkdirSync(disk.path);
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `mode=700,${options}`, 'damselfly-test', disk.path], TIMEOUT);
    } catch (error) {
      await disk.#folder.remove();
      throw error;
    }
    return disk;
  }

  async remount(options: string): Promise<void> {
    await run('mount', ['-o', `remount,${options}`, this.path], TIMEOUT);
  }

  /** Takes every byte that is left. May be called again for what was freed since. */
  fill(): void {
    for (const step of [1 << 20, 1 << 16, 4096]) {
      const fd = openSync(this.#next(), 'w');
      try {
        const bytes = Buffer.alloc(step, 1);
        while (writeSync(fd, bytes) === step);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        closeSync(fd);
      }
    }
  }

  /** Takes every file that may still be created. */
  fillInodes(): void {
    try {
      for (;;) writeFileSync(this.#next(), '');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }

  /** Gives back what was taken. */
  empty(): void {
    rmSync(join(this.path, BALLAST), { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Lazily: whatever still holds a file there must not keep it mounted.
    await run('umount', ['-l', this.path], TIMEOUT);
    await this.#folder.remove();
  }

  #next(): string {
    const folder = join(this.path, BALLAST);
    mkdirSync(folder, { recursive: true });
    this.#ballast += 1;
    return join(folder, String(this.#ballast));
  }
}

const BALLAST = 'of-others';
