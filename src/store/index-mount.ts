import { DamselflyError } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import { TooLate, within } from './deadline.ts';
import type { DiskFault, DiskHealth } from './health.ts';
import { IndexError, type IndexPort } from './index-port.ts';
import type { IndexContents, IndexOptions } from './index-protocol.ts';

/**
 * Opens the index: at start, and again and again while the directory cannot be used, so that a disk that was full or
 * silent when the node started serves once it works.
 */
export class IndexMount {
  readonly #port: IndexPort;
  readonly #options: Omit<IndexOptions, 'nowMs'>;
  readonly #health: DiskHealth;
  readonly #log: Logger;
  readonly #opened: (contents: IndexContents) => void;
  #attempt: Promise<void> | null = null;
  #isOpen = false;

  /** @param options.opened takes the contents over; called once, whenever it is that the index opens. */
  constructor(options: {
    port: IndexPort;
    index: Omit<IndexOptions, 'nowMs'>;
    health: DiskHealth;
    log: Logger;
    opened: (contents: IndexContents) => void;
  }) {
    this.#port = options.port;
    this.#options = options.index;
    this.#health = options.health;
    this.#log = options.log;
    this.#opened = options.opened;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * The first attempt. A directory that cannot be used is a fault of the disk.
   * @throws DamselflyError `cache-unusable` for what only an operator can mend.
   */
  async open(timeoutMs: number): Promise<void> {
    try {
      await within(this.#try(), timeoutMs);
    } catch (error) {
      const unusable = unusableError(this.#options.dir, error);
      if (unusable !== null) throw unusable;
      this.#failed(error);
    }
  }

  /** Never throws. Joins an attempt that is still under way. */
  async retry(): Promise<void> {
    try {
      await this.#try();
    } catch (error) {
      this.#failed(error);
    }
  }

  #try(): Promise<void> {
    this.#attempt ??= this.#port
      .open({ ...this.#options, nowMs: Date.now() })
      .then((contents) => {
        for (const { level, text } of contents.notes)
          this.#log[level]({ dir: this.#options.dir }, `cache: ${text}`);
        this.#opened(contents);
        this.#isOpen = true;
        this.#health.succeeded('index');
      })
      .finally(() => {
        this.#attempt = null;
      });
    // An attempt that nobody waits for any more may still succeed, or fail unheard.
    this.#attempt.catch(() => undefined);
    return this.#attempt;
  }

  #failed(error: unknown): void {
    this.#health.failed('index', faultOfIndex(error), { message: messageOf(error) });
  }
}

export function faultOfIndex(error: unknown): DiskFault {
  if (error instanceof TooLate) return 'disk-slow';
  if (!(error instanceof IndexError)) return 'disk-error';
  const { failure } = error;
  return failure === 'disk-full' || failure === 'read-only' ? failure : 'disk-error';
}

export function isDamaged(error: unknown): boolean {
  return error instanceof IndexError && error.failure === 'damaged';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The reason for which a node must not start. */
function unusableError(dir: string, error: unknown): DamselflyError | null {
  if (!(error instanceof IndexError)) return null;
  const { failure, message } = error;
  if (failure === 'locked')
    return new DamselflyError(
      'cache-unusable',
      `The cache directory ${dir} is in use: ${message}. Stop the other process, or set cache.dir to another directory`,
      { facts: { dir }, cause: error },
    );
  return null;
}
