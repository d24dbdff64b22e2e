import { execFileSync } from 'node:child_process';
import { close as closeFd, closeSync, constants, open, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DiskLayer, realDisk } from '../../../src/store/disk-layer.ts';
import { eventually } from '../../support/eventually.ts';

/**
 * The real disk, until it is stopped: then every call holds a thread of libuv's pool, as a call of a disk that does not
 * answer would, for ever (it opens a pipe that nobody writes to) or for a while.
 */
export class HeldDisk implements DiskLayer, AsyncDisposable {
  /** Calls that are waiting. */
  waiting = 0;
  /** How long each call takes longer than it would. */
  delayMs = 0;
  readonly #pipe: string;
  #writer: number | null = null;
  #isStopped = false;

  /** @param pipe where a named pipe is made. */
  constructor(pipe: string) {
    execFileSync('mkfifo', [pipe]);
    this.#pipe = pipe;
  }

  stop(): void {
    if (this.#writer !== null) closeSync(this.#writer);
    this.#writer = null;
    this.#isStopped = true;
  }

  /** Answers everything that waits. */
  go(): void {
    this.#isStopped = false;
    // Opened for both, so that this one does not wait; it lets the others in.
    this.#writer ??= openSync(this.#pipe, constants.O_RDWR | constants.O_NONBLOCK);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.go();
    await eventually(() => this.waiting === 0);
    this.stop();
    this.#isStopped = false;
  }

  open(...args: Parameters<DiskLayer['open']>): Promise<number> {
    return this.#held(() => realDisk.open(...args));
  }

  mkdir(path: string): Promise<void> {
    return this.#held(() => realDisk.mkdir(path));
  }

  read(...args: Parameters<DiskLayer['read']>): Promise<number> {
    return this.#held(() => realDisk.read(...args));
  }

  write(...args: Parameters<DiskLayer['write']>): Promise<number> {
    return this.#held(() => realDisk.write(...args));
  }

  truncate(...args: Parameters<DiskLayer['truncate']>): Promise<void> {
    return this.#held(() => realDisk.truncate(...args));
  }

  stat(fd: number): ReturnType<DiskLayer['stat']> {
    return realDisk.stat(fd);
  }

  close(fd: number): Promise<void> {
    return this.#held(() => realDisk.close(fd));
  }

  unlink(path: string): Promise<void> {
    return this.#held(() => realDisk.unlink(path));
  }

  freeSpace(path: string): ReturnType<DiskLayer['freeSpace']> {
    return this.#held(() => realDisk.freeSpace(path));
  }

  async #held<T>(work: () => Promise<T>): Promise<T> {
    if (this.delayMs > 0) await sleep(this.delayMs);
    if (this.#isStopped) {
      this.waiting += 1;
      await this.#wait().finally(() => {
        this.waiting -= 1;
      });
    }
    return await work();
  }

  /** In a thread of the pool. */
  #wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      open(this.#pipe, constants.O_RDONLY, (error, fd) => {
        if (error !== null) reject(error);
        else closeFd(fd, () => resolve());
      });
    });
  }
}
