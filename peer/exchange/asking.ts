import type { Member, PeerId } from '../member.ts';
import type { Ask, Fetch, FetchOutcome, Inquiry, Knowledge, Plan, Report } from '../messages.ts';
import type { Caller } from './caller.ts';
import { CallerPool, type Dial, type Lane } from './caller-pool.ts';
import type { ExchangeLimits } from './limits.ts';
import { LostConnection } from './lost-connection.ts';

/** The asking half of an exchange, over whatever a dial gives. */
export class Asking {
  readonly #pool: CallerPool;

  constructor(dial: Dial, limits: ExchangeLimits) {
    this.#pool = new CallerPool(dial, limits);
  }

  ask(to: Member, ask: Ask, onPlan: (plan: Plan) => void, signal: AbortSignal): Promise<void> {
    return this.#over(to, 'control', signal, (caller) => caller.ask(ask, onPlan, signal));
  }

  report(to: Member, reports: readonly Report[], signal: AbortSignal): Promise<void> {
    return this.#over(to, 'control', signal, async (caller) => caller.report(reports));
  }

  inquire(to: Member, inquiry: Inquiry, signal: AbortSignal): Promise<Knowledge> {
    return this.#over(to, 'control', signal, (caller) => caller.inquire(inquiry, signal));
  }

  fetch(
    to: Member,
    fetch: Fetch,
    onProgress: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<FetchOutcome> {
    return this.#over(to, 'bulk', signal, (caller) => caller.fetch(fetch, onProgress, signal));
  }

  async reach(to: Member, lane: Lane, signal: AbortSignal): Promise<void> {
    await this.#pool.get(to, lane, signal);
  }

  isReached(peer: PeerId, lane: Lane): boolean {
    return this.#pool.isReached(peer, lane);
  }

  connected(): PeerId[] {
    return this.#pool.connected();
  }

  retire(isDue: (caller: Caller) => boolean): void {
    this.#pool.retire(isDue);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  /**
   * A kept connection may have been closed by the other side just now, or with its process a while ago: a question of
   * which not a word was answered is asked once more, over a new one.
   */
  async #over<T>(
    to: Member,
    lane: Lane,
    signal: AbortSignal,
    ask: (caller: Caller) => Promise<T>,
  ): Promise<T> {
    const { caller, isKept } = await this.#pool.get(to, lane, signal);
    try {
      return await ask(caller);
    } catch (error) {
      const isStale = isKept && error instanceof LostConnection && error.isUnheard && !signal.aborted;
      if (!isStale || error.code !== 'peer-unreachable' || caller.hasFallenSilent) throw error;
    }
    return ask((await this.#pool.get(to, lane, signal)).caller);
  }
}
