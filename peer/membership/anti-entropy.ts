import { type Link, stampOf } from './link.ts';
import { type Entry, rowsMessages, type SummaryItem } from './message.ts';
import type { LifeKey } from './row.ts';
import type { MemberTable, TableEntry } from './table.ts';

/** News are under way for a moment; only hashes that differ for longer mean that something was lost. */
const DIFFERENCE_MS = 2_000;
const SUMMARY_EVERY_MS = 5_000;

/**
 * Makes the tables at both ends of a link equal. Rows go to whoever is not known to know them; where hashes differ for long,
 * one side sums up what it has, and the other gives what that lacks and asks for what is newer there.
 */
export class AntiEntropy {
  readonly #table: MemberTable;

  constructor(table: MemberTable) {
    this.#table = table;
  }

  /** @param isAsked also what the other side is thought to know. */
  tell(link: Link, entries: readonly TableEntry[], isAsked = false): void {
    const unknown = entries.filter((entry) => isAsked || !link.knows(entry.key, stampOfEntry(entry)));
    for (const entry of unknown) link.noteKnown(entry.key, stampOfEntry(entry));
    for (const message of rowsMessages(unknown)) link.wire.send(message);
  }

  /** It has told a row of the member that is now `after` in the table: so it knows that much. */
  wasTold(link: Link, after: TableEntry, told: Entry): void {
    // Nothing of this life, when it spoke of an earlier one.
    const stamp = told.signed.row.epoch === after.member.epoch ? stampOfEntry(told) : -1;
    link.noteKnown(after.key, stamp);
  }

  /** The hash of its first message. The side that opened the link sums up at once, so that one of them does. */
  greeted(link: Link, hash: string, nowMs: number): void {
    link.noteHash(hash === this.#table.hash(), nowMs);
    if (link.differsSinceMs !== undefined && link.isOutbound) this.#summarise(link, nowMs);
  }

  compare(link: Link, hash: string, nowMs: number): void {
    link.noteHash(hash === this.#table.hash(), nowMs);
    const hasLasted = link.differsSinceMs !== undefined && nowMs - link.differsSinceMs > DIFFERENCE_MS;
    if (hasLasted && nowMs - link.summarySentMs > SUMMARY_EVERY_MS) this.#summarise(link, nowMs);
  }

  /** It has summed up what it has. */
  answer(link: Link, items: readonly SummaryItem[]): void {
    const want: LifeKey[] = [];
    const theirs = new Map<LifeKey, number>();
    for (const item of items) {
      const stamp = stampOf(item);
      theirs.set(item.key, stamp);
      link.noteKnown(item.key, stamp);
      const mine = this.#table.entryOfLife(item.key);
      // A stranger that is gone already is nobody's news.
      if (mine === undefined ? item.state !== 'gone' : stampOfEntry(mine) < stamp) want.push(item.key);
    }
    const lacking = [...this.#table.entries()].filter((entry) => {
      const stamp = theirs.get(entry.key);
      return stamp === undefined ? entry.state !== 'gone' : stamp < stampOfEntry(entry);
    });
    this.tell(link, lacking, true);
    if (want.length > 0) link.wire.send({ kind: 'want', keys: want });
  }

  /** It wants these. */
  give(link: Link, keys: readonly LifeKey[]): void {
    const entries = keys.flatMap((key) => this.#table.entryOfLife(key) ?? []);
    this.tell(link, entries, true);
  }

  #summarise(link: Link, nowMs: number): void {
    link.summarySentMs = nowMs;
    link.wire.send({ kind: 'summary', items: this.#table.summary() });
  }
}

function stampOfEntry({ signed, state }: Pick<TableEntry, 'signed' | 'state'>): number {
  return stampOf({ version: signed.row.version, state });
}
