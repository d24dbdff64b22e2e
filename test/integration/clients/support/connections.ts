import { type Place, Wire, type WireAnswer } from './wire.ts';

export interface AskOptions {
  readonly method: string;
  /** Hangs up after so many body bytes, as a client that has enough does. */
  readonly stopAfterBytes?: number;
  /** Longest wait for a byte, in milliseconds. */
  readonly idleMs?: number;
}

/** A client's pool of kept-alive connections to one place: what is idle is used again, what hung up is not. */
export class Connections implements Disposable {
  readonly #place: Place;
  readonly #idle: Wire[] = [];
  readonly #all = new Set<Wire>();
  /** Connections made so far. */
  opened = 0;

  constructor(place: Place) {
    this.#place = place;
  }

  /** @param request the whole head, and the body if there is one. */
  async ask(request: string | Uint8Array, options: AskOptions): Promise<WireAnswer> {
    const wire = this.#idle.pop() ?? (await this.#open(options.idleMs));
    let isKept = false;
    try {
      if (!wire.isOpen) throw new Error('a kept-alive connection was closed while it was idle');
      wire.send(request);
      const answer = await wire.receive(options);
      isKept = answer.isReusable;
      return answer;
    } finally {
      if (isKept) this.#idle.push(wire);
      else this.#drop(wire);
    }
  }

  [Symbol.dispose](): void {
    for (const wire of this.#all) this.#drop(wire);
  }

  async #open(idleMs?: number): Promise<Wire> {
    const wire = await Wire.open(this.#place, idleMs);
    this.opened += 1;
    this.#all.add(wire);
    return wire;
  }

  #drop(wire: Wire): void {
    this.#all.delete(wire);
    wire.close();
  }
}
