import type { Fact, FactKind, FactTable } from './facts.ts';
import type { FactRow } from './index-protocol.ts';

/** Longer ones are not kept: a fact is a hash, a name, the signatures of a segment. Such a row fits into a page. */
const MAX_FACT_CHARS = 3_072;

export interface FactJournal {
  factPut(kind: FactKind, fact: Fact): void;
  factRemoved(kind: FactKind, key: string): void;
}

/** Facts of the last run, and the way into the index for those of this one. */
export class StoredFacts implements FactTable {
  readonly #atStart = new Map<FactKind, Fact[]>();
  readonly #journal: FactJournal;

  constructor(journal: FactJournal) {
    this.#journal = journal;
  }

  /** The index has been read. */
  loaded(rows: readonly FactRow[]): void {
    for (const { kind, key, value, expiresAtMs } of rows) {
      const facts = this.#atStart.get(kind) ?? [];
      facts.push({ key, value, expiresAtMs: expiresAtMs ?? Number.POSITIVE_INFINITY });
      this.#atStart.set(kind, facts);
    }
  }

  load(kind: FactKind): readonly Fact[] {
    return this.#atStart.get(kind) ?? [];
  }

  put(kind: FactKind, fact: Fact): void {
    if (fact.key.length + fact.value.length <= MAX_FACT_CHARS) this.#journal.factPut(kind, fact);
  }

  remove(kind: FactKind, key: string): void {
    this.#journal.factRemoved(kind, key);
  }
}
