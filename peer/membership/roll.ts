import type { PeerId } from '../member.ts';
import type { TableEntry } from './table.ts';

/** What a change of the table means to others: `same` covers what is nobody's business, such as new suspicions. */
export type Turn = 'joined' | 'left' | 'changed' | 'same';

/** Remembers what of each member was told last, so that a change is told once and as what it is. */
export class Roll {
  readonly #told = new Map<PeerId, TableEntry>();

  turn(entry: TableEntry): Turn {
    const { id } = entry.member;
    const before = this.#told.get(id);
    if (entry.state === 'gone') return this.#told.delete(id) ? 'left' : 'same';
    this.#told.set(id, entry);
    if (before === undefined) return 'joined';
    const isCleared = before.state === 'suspect' && entry.state === 'live';
    return isCleared || before.member !== entry.member ? 'changed' : 'same';
  }
}
