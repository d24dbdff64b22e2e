import type { Member, PeerId } from '../../member.ts';
import { splitPeer } from './endpoint.ts';

/** At once, while the node has too few links; and one now and then for addresses that nobody is known at. */
const EAGER_DIALS = 4;
const CALM_EVERY_MS = 2_000;
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;
/** While nobody is known at all: all may have started at once, and the others come up in a moment. */
const LONELY_RETRY_MS = 3_000;
const MAX_ADDRESSES = 4_096;
const MAX_REMEMBERED = 256;
/** About a quarter of an hour of trying. */
const REMEMBERED_TRIES = 60;
const REMEMBERED = 'remembered';

interface Contact {
  /** Without the peer id. */
  readonly base: string;
  /** To be dialled; with the peer id where somebody named one. */
  address: string;
  readonly sources: Set<string>;
  failures: number;
  notBeforeMs: number;
  isDialled: boolean;
  isSelf: boolean;
  /** Who was met there last. */
  id: PeerId | undefined;
}

export type DialResult = { readonly kind: 'met'; readonly id: PeerId } | { readonly kind: 'self' | 'failed' };

/**
 * The addresses that discovery found, and when each is to be dialled: those where a live member is known to be are not, own
 * ones never again, dead ones ever more rarely, and only some at once. Pure: time and chance are given.
 */
export class Contacts {
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #contacts = new Map<string, Contact>();
  #calmMs = 0;

  constructor(options: { now: () => number; random: () => number }) {
    this.#now = options.now;
    this.#random = options.random;
  }

  get size(): number {
    return this.#contacts.size;
  }

  /** All that a source knows now; what it named before and does not any more is its no longer. */
  found(source: string, addresses: readonly string[]): void {
    const named = new Set<string>();
    for (const address of addresses) {
      const { base, peer } = splitPeer(address);
      named.add(base);
      this.#add(source, base, peer === undefined ? undefined : address);
    }
    for (const contact of this.#contacts.values()) {
      if (!named.has(contact.base)) this.#drop(contact, source);
    }
  }

  /** Where members were that are gone without a goodbye: how the sides of a partition find each other again. */
  remember(addresses: readonly string[]): void {
    let count = 0;
    for (const contact of this.#contacts.values()) if (contact.sources.has(REMEMBERED)) count += 1;
    for (const address of addresses.slice(0, Math.max(0, MAX_REMEMBERED - count))) {
      this.#add(REMEMBERED, splitPeer(address).base, undefined);
    }
  }

  /** This node's own addresses, whoever names them. */
  isOwn(addresses: readonly string[]): void {
    for (const contact of this.#contacts.values()) contact.isSelf ||= addresses.includes(contact.base);
  }

  /**
   * The addresses to dial now; each is to be reported by {@link ended}.
   * @param isEager the node has fewer links than it wants.
   */
  next(members: readonly Member[], isEager: boolean): string[] {
    const nowMs = this.#now();
    const underWay = [...this.#contacts.values()].filter((contact) => contact.isDialled).length;
    if (!isEager && (nowMs < this.#calmMs || underWay > 0)) return [];
    const due = this.#due(members, nowMs);
    const wanted = isEager ? EAGER_DIALS - underWay : 1;
    const chosen: string[] = [];
    while (chosen.length < wanted && due.length > 0) {
      const [contact] = due.splice(Math.floor(this.#random() * due.length), 1);
      if (contact === undefined) break;
      contact.isDialled = true;
      chosen.push(contact.address);
    }
    if (chosen.length > 0) this.#calmMs = nowMs + CALM_EVERY_MS;
    return chosen;
  }

  /** @param isLonely no other member is known. */
  ended(address: string, result: DialResult, isLonely: boolean): void {
    const contact = this.#contacts.get(splitPeer(address).base);
    if (contact === undefined) return;
    contact.isDialled = false;
    if (result.kind === 'self') contact.isSelf = true;
    contact.id = result.kind === 'met' ? result.id : undefined;
    contact.failures = result.kind === 'met' ? 0 : contact.failures + 1;
    const limitMs = isLonely ? LONELY_RETRY_MS : MAX_RETRY_MS;
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(Math.max(contact.failures - 1, 0), 10), limitMs);
    contact.notBeforeMs = this.#now() + delayMs * (0.75 + 0.5 * this.#random());
    if (contact.failures > REMEMBERED_TRIES) this.#drop(contact, REMEMBERED);
  }

  #due(members: readonly Member[], nowMs: number): Contact[] {
    if (this.#contacts.size === 0) return [];
    const live = new Set<string>();
    for (const { id, control } of members) {
      live.add(id);
      for (const address of control) live.add(address);
    }
    return [...this.#contacts.values()].filter((contact) => {
      if (contact.isDialled || contact.isSelf || contact.notBeforeMs > nowMs) return false;
      return !live.has(contact.base) && (contact.id === undefined || !live.has(contact.id));
    });
  }

  #add(source: string, base: string, withPeer: string | undefined): void {
    const known = this.#contacts.get(base);
    if (known !== undefined) {
      known.sources.add(source);
      if (withPeer !== undefined) known.address = withPeer;
      return;
    }
    if (this.#contacts.size >= MAX_ADDRESSES) return;
    this.#contacts.set(base, {
      base,
      address: withPeer ?? base,
      sources: new Set([source]),
      failures: 0,
      notBeforeMs: 0,
      isDialled: false,
      isSelf: false,
      id: undefined,
    });
  }

  #drop(contact: Contact, source: string): void {
    contact.sources.delete(source);
    if (contact.sources.size === 0) this.#contacts.delete(contact.base);
  }
}
