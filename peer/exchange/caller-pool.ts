import { DamselflyError } from '../../src/errors.ts';
import type { Member, PeerId } from '../member.ts';
import type { Caller } from './caller.ts';
import { unreachable } from './channel.ts';
import type { ExchangeLimits } from './limits.ts';

/**
 * Pieces and planner questions go over connections of their own: what lies in the kernel's buffers of a busy link would
 * hold a planner's word up for longer than it may take.
 */
export type Lane = 'control' | 'bulk';

/** Makes one proven connection. Ends by the signal; throws `peer-unreachable`, `peer-refused` or `peer-broken`. */
export type Dial = (to: Member, signal: AbortSignal, lane: Lane) => Promise<Caller>;

interface Line {
  caller: Caller | null;
  dialling: Promise<Caller> | null;
  /** The last dial failed: its error counts until then. */
  failed: { readonly error: DamselflyError; readonly untilMs: number } | null;
}

interface Entry {
  readonly peer: PeerId;
  readonly lines: Record<Lane, Line>;
  lastUsedAtMs: number;
}

/** Kept-alive connections to members, shared by everybody who asks; the least recently used peers go when idle. */
export class CallerPool {
  readonly #dial: Dial;
  readonly #limits: ExchangeLimits;
  /** The least recently used first. */
  readonly #entries = new Map<PeerId, Entry>();
  readonly #ended = new AbortController();
  #sweep: NodeJS.Timeout | undefined;

  constructor(dial: Dial, limits: ExchangeLimits) {
    this.#dial = dial;
    this.#limits = limits;
  }

  /** Peers with an open connection. */
  connected(): PeerId[] {
    return [...this.#entries.values()]
      .filter(({ lines }) => lines.control.caller?.isOpen || lines.bulk.caller?.isOpen)
      .map(({ peer }) => peer);
  }

  /** Whether a connection is there that takes questions. */
  isReached(peer: PeerId, lane: Lane): boolean {
    return this.#entries.get(peer)?.lines[lane].caller?.isUsable === true;
  }

  /** @returns a connection, and whether it was there before. */
  async get(to: Member, lane: Lane, signal: AbortSignal): Promise<{ caller: Caller; isKept: boolean }> {
    signal.throwIfAborted();
    if (this.#ended.signal.aborted) throw unreachable('the exchange has been closed');
    const entry = this.#touch(to.id);
    const line = entry.lines[lane];
    if (line.caller?.isUsable) return { caller: line.caller, isKept: true };
    const nowMs = performance.now();
    if (line.failed !== null && nowMs < line.failed.untilMs) throw line.failed.error;
    line.dialling ??= this.#open(to, entry, lane);
    const caller = await raced(line.dialling, signal);
    return { caller, isKept: false };
  }

  /** No further questions over connections that `isDue` names; they finish what is under way. */
  retire(isDue: (caller: Caller) => boolean): void {
    for (const caller of this.#callers()) if (isDue(caller)) caller.retire(this.#limits.retireMs);
  }

  async close(): Promise<void> {
    this.#ended.abort(unreachable('the exchange has been closed'));
    clearTimeout(this.#sweep);
    const dialling = [...this.#entries.values()].flatMap(({ lines }) => [
      lines.control.dialling,
      lines.bulk.dialling,
    ]);
    for (const caller of this.#callers()) caller.destroy();
    await Promise.allSettled(dialling);
  }

  #callers(): Caller[] {
    return [...this.#entries.values()].flatMap(({ lines }) =>
      [lines.control.caller, lines.bulk.caller].filter((caller) => caller !== null),
    );
  }

  #touch(peer: PeerId): Entry {
    const entry = this.#entries.get(peer) ?? {
      peer,
      lines: { control: newLine(), bulk: newLine() },
      lastUsedAtMs: 0,
    };
    entry.lastUsedAtMs = performance.now();
    this.#entries.delete(peer);
    this.#entries.set(peer, entry);
    this.#trim();
    this.#armSweep();
    return entry;
  }

  async #open(to: Member, entry: Entry, lane: Lane): Promise<Caller> {
    const line = entry.lines[lane];
    const late = AbortSignal.timeout(this.#limits.dialMs);
    try {
      const caller = await this.#dial(to, AbortSignal.any([this.#ended.signal, late]), lane);
      if (this.#ended.signal.aborted) {
        caller.destroy();
        throw this.#ended.signal.reason;
      }
      line.caller = caller;
      line.failed = null;
      caller.listen({
        onIdle: () => this.#trim(),
        onGone: () => {
          if (line.caller === caller) line.caller = null;
          if (isVacant(entry) && this.#entries.get(entry.peer) === entry) this.#entries.delete(entry.peer);
        },
      });
      return caller;
    } catch (error) {
      const told =
        error instanceof DamselflyError
          ? error
          : unreachable(
              late.aborted ? `not within ${this.#limits.dialMs} ms` : 'it could not be dialled',
              error,
            );
      line.failed = { error: told, untilMs: performance.now() + this.#limits.redialMs };
      throw told;
    } finally {
      line.dialling = null;
    }
  }

  /** Down to the bound, as far as what is over it is idle. */
  #trim(): void {
    for (const entry of this.#entries.values()) {
      if (this.#entries.size <= this.#limits.maxPeers) return;
      if (isIdle(entry)) this.#drop(entry);
    }
  }

  #drop(entry: Entry): void {
    this.#entries.delete(entry.peer);
    entry.lines.control.caller?.destroy();
    entry.lines.bulk.caller?.destroy();
  }

  #armSweep(): void {
    if (this.#sweep !== undefined || this.#ended.signal.aborted) return;
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined;
      const oldestMs = performance.now() - this.#limits.idleMs;
      for (const entry of this.#entries.values())
        if (entry.lastUsedAtMs < oldestMs && isIdle(entry)) this.#drop(entry);
      if (this.#entries.size > 0) this.#armSweep();
    }, this.#limits.idleMs / 4);
    this.#sweep.unref();
  }
}

function newLine(): Line {
  return { caller: null, dialling: null, failed: null };
}

function isIdle({ lines }: Entry): boolean {
  return [lines.control, lines.bulk].every(
    ({ caller, dialling }) => dialling === null && (caller === null || caller.isIdle),
  );
}

function isVacant({ lines }: Entry): boolean {
  return [lines.control, lines.bulk].every(({ caller, dialling }) => dialling === null && caller === null);
}

function raced<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason);
    signal.addEventListener('abort', leave);
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}
