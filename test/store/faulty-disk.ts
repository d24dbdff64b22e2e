import { type DiskLayer, type FileStat, type FreeSpace, realDisk } from '../../src/store/disk-layer.ts';

export type DiskCall = keyof DiskLayer;

/** The real disk with faults put in: errors, stops, and lies about free space. */
export class FaultyDisk implements DiskLayer {
  readonly counts = new Map<DiskCall, number>();
  /** Calls that fail, with the errno they fail with. */
  readonly #errors = new Map<DiskCall, { code: string; times: number }>();
  #stopped: { calls: Set<DiskCall>; until: Promise<void>; go: () => void } | null = null;
  space: Partial<FreeSpace> = {};
  /** How coarse the file times are, as on kernels before 6.13. */
  tickNs = 1n;

  fail(call: DiskCall, code: string, times = Number.POSITIVE_INFINITY): void {
    this.#errors.set(call, { code, times });
  }

  heal(): void {
    this.#errors.clear();
    this.#stopped?.go();
    this.#stopped = null;
  }

  /** These calls answer only after {@link heal}. */
  stop(...calls: DiskCall[]): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#stopped = { calls: new Set(calls), until: promise, go: resolve };
  }

  count(call: DiskCall): number {
    return this.counts.get(call) ?? 0;
  }

  async open(path: string, mode: 'create' | 'existing'): Promise<number> {
    await this.#enter('open');
    return await realDisk.open(path, mode);
  }

  async mkdir(path: string): Promise<void> {
    await this.#enter('mkdir');
    await realDisk.mkdir(path);
  }

  async read(fd: number, into: Uint8Array, position: number): Promise<number> {
    await this.#enter('read');
    return await realDisk.read(fd, into, position);
  }

  async write(fd: number, bytes: Uint8Array, position: number): Promise<number> {
    await this.#enter('write');
    return await realDisk.write(fd, bytes, position);
  }

  async truncate(fd: number, lengthBytes: number): Promise<void> {
    await this.#enter('truncate');
    await realDisk.truncate(fd, lengthBytes);
  }

  stat(fd: number): FileStat {
    const { dev, ino, size, mtimeNs, ctimeNs, blocks, nlink } = realDisk.stat(fd);
    const coarse = (timeNs: bigint): bigint => timeNs - (timeNs % this.tickNs);
    return { dev, ino, size, mtimeNs: coarse(mtimeNs), ctimeNs: coarse(ctimeNs), blocks, nlink };
  }

  async close(fd: number): Promise<void> {
    await realDisk.close(fd);
  }

  async unlink(path: string): Promise<void> {
    await this.#enter('unlink');
    await realDisk.unlink(path);
  }

  async freeSpace(path: string): Promise<FreeSpace> {
    await this.#enter('freeSpace');
    return { ...(await realDisk.freeSpace(path)), ...this.space };
  }

  async #enter(call: DiskCall): Promise<void> {
    this.counts.set(call, this.count(call) + 1);
    if (this.#stopped?.calls.has(call)) await this.#stopped.until;
    const error = this.#errors.get(call);
    if (error === undefined || error.times <= 0) return;
    error.times -= 1;
    throw Object.assign(new Error(`${error.code}: made by the test`), { code: error.code });
  }
}
