import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { type IndexMount, isDamaged } from './index-mount.ts';
import type { IndexPort } from './index-port.ts';
import type { Ledger } from './ledger.ts';
import type { Room } from './room.ts';

/** Looks after the directory now and then: whether it can be used by now, what others put into it or took of its disk. */
export class Maintenance {
  readonly #port: IndexPort;
  readonly #mount: IndexMount;
  readonly #room: Room;
  readonly #ledger: Ledger;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #rebuild: () => Promise<void>;
  readonly #timer: NodeJS.Timeout;
  /** A stopped disk may hold one round for long: never two at once. */
  #isRunning = false;

  constructor(options: {
    port: IndexPort;
    mount: IndexMount;
    room: Room;
    ledger: Ledger;
    metrics: Metrics;
    log: Logger;
    /** Never throws. */
    rebuild: () => Promise<void>;
    everyMs: number;
  }) {
    this.#port = options.port;
    this.#mount = options.mount;
    this.#room = options.room;
    this.#ledger = options.ledger;
    this.#metrics = options.metrics;
    this.#log = options.log;
    this.#rebuild = options.rebuild;
    this.#timer = setInterval(() => void this.run(), options.everyMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      if (!this.#mount.isOpen) {
        await this.#mount.retry();
        if (!this.#mount.isOpen) return;
      }
      this.#ledger.measured(await this.#port.measure());
      await this.#room.maintain();
      this.#metrics.diskUsage.set(this.#ledger.allocatedBytes);
    } catch (error) {
      if (isDamaged(error)) await this.#rebuild();
      else this.#log.debug({ err: error }, 'the cache could not be looked after');
    } finally {
      this.#isRunning = false;
    }
  }
}
