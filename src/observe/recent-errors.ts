import { DamselflyError, type ErrorCode } from '../errors.ts';

/** One line of the status page's "recent errors". Free of secrets, so that it may be shown to anybody on the admin port. */
export interface RecentError {
  /** When it last happened, ISO 8601. */
  readonly at: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** What to do, where the message does not say it already. */
  readonly remedy?: string;
  /** How often it happened since it entered the ring. */
  readonly count: number;
}

const DEFAULT_CAPACITY = 50;
const MAX_MESSAGE_CHARS = 500;

/**
 * The last few different errors, oldest first. An error that repeats (same code and message) moves to the end and is
 * counted: a flood of one error does not wash the others away.
 */
export class RecentErrors {
  readonly #capacity: number;
  readonly #now: () => number;
  readonly #ring = new Map<string, RecentError>();

  constructor(options: { capacity?: number; now?: () => number } = {}) {
    this.#capacity = options.capacity ?? DEFAULT_CAPACITY;
    this.#now = options.now ?? Date.now;
  }

  /** Errors that are not ours may carry anything in their text, so only their class is kept; the log has the rest. */
  add(error: unknown, remedy?: string): void {
    const code = error instanceof DamselflyError ? error.code : 'internal';
    const text = error instanceof DamselflyError ? error.message : `unexpected ${nameOf(error)}; see the log`;
    const message = withoutSecrets(text).slice(0, MAX_MESSAGE_CHARS);
    const key = `${code}\n${message}`;
    const count = (this.#ring.get(key)?.count ?? 0) + 1;
    this.#ring.delete(key);
    this.#ring.set(key, {
      at: new Date(this.#now()).toISOString(),
      code,
      message,
      ...(remedy === undefined ? {} : { remedy }),
      count,
    });
    if (this.#ring.size <= this.#capacity) return;
    const oldest = this.#ring.keys().next();
    if (!oldest.done) this.#ring.delete(oldest.value);
  }

  list(): RecentError[] {
    return [...this.#ring.values()];
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}

/** Messages are written without secrets; this is the second fence, for a URL that slipped in whole. */
function withoutSecrets(text: string): string {
  return text.replace(/(https?:\/\/)(?:[^\s/?#@]*@)?([^\s?#]*)(?:[?#]\S*)?/gi, '$1$2');
}
