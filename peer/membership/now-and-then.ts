import { LRUCache } from 'lru-cache';

const REMEMBERED = 256;
const AGAIN_MS = 10 * 60_000;

/** Keeps a log readable: of each thing it lets one word through in ten minutes, however often it happens. */
export class NowAndThen {
  readonly #said = new LRUCache<string, true>({ max: REMEMBERED, ttl: AGAIN_MS });

  isDue(what: string): boolean {
    if (this.#said.has(what)) return false;
    this.#said.set(what, true);
    return true;
  }
}
