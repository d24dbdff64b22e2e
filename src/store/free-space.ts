import type { DiskLayer, FreeSpace } from './disk-layer.ts';

/** How old statfs(2)'s answer may be. In between, what we write ourselves is taken off. */
const FRESH_MS = 1_000;

/** What the file system has left, asked at most once a second. */
export class FreeSpaceWatch {
  readonly #disk: DiskLayer;
  readonly #path: string;
  #known: FreeSpace = { freeBytes: 0, freeFiles: null, blockBytes: 4096 };
  #knownAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | null = null;

  constructor(disk: DiskLayer, path: string) {
    this.#disk = disk;
    this.#path = path;
  }

  get blockBytes(): number {
    return this.#known.blockBytes;
  }

  get freeBytes(): number {
    return this.#known.freeBytes;
  }

  get outOfFiles(): boolean {
    return this.#known.freeFiles !== null && this.#known.freeFiles < 1;
  }

  get isFresh(): boolean {
    return performance.now() - this.#knownAtMs < FRESH_MS;
  }

  /** @throws the errno of statfs(2). */
  refresh(): Promise<void> {
    this.#asking ??= this.#disk
      .freeSpace(this.#path)
      .then((space) => {
        this.#known = space;
        this.#knownAtMs = performance.now();
      })
      .finally(() => {
        this.#asking = null;
      });
    return this.#asking;
  }

  wrote(bytes: number): void {
    this.#known = { ...this.#known, freeBytes: this.#known.freeBytes - bytes };
  }
}
