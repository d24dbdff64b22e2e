import type { Member, PeerId } from '../member.ts';
import {
  type Entry,
  LIFE_STATES,
  type LifeState,
  MAX_MEMBERS,
  type SummaryItem,
  type TableHash,
} from './message.ts';
import {
  FOLD_BYTES,
  isGenuine,
  type LifeKey,
  memberOf,
  type Row,
  type RowSeal,
  type SignedRow,
  sealRow,
} from './row.ts';

/** How long the word "gone" is kept, so that an old row cannot bring its member back. */
const GONE_MEMORY_MS = 10 * 60_000;
/** Two nodes with one identity would answer each other without end; so not faster than this. */
const ANSWER_GAP_MS = 1_000;

export interface TableEntry extends Entry {
  readonly key: LifeKey;
  readonly member: Member;
  /** When its state last changed, by this node's monotonic clock in ms. */
  readonly sinceMs: number;
}

/** news: the table changed. known: nothing new. forged: its signature is not its member's. full: of {@link MAX_MEMBERS}. */
export type MergeResult = 'news' | 'known' | 'forged' | 'full';

/**
 * Who is in the swarm, as rows that spread by anti-entropy: for one member the greater epoch wins, then the greater version, then the
 * worse state. So any order of the same rows ends in the same table. Only the member itself can answer a false
 * "suspect" or "gone", with a greater version. No clock of another node is ever compared: an epoch only has to grow.
 */
export class MemberTable {
  readonly #seal: RowSeal;
  readonly #entries = new Map<PeerId, TableEntry>();
  readonly #byKey = new Map<LifeKey, PeerId>();
  readonly #hash = Buffer.alloc(FOLD_BYTES);
  #self: TableEntry;
  #live: readonly Member[] | undefined;
  #answeredMs = Number.NEGATIVE_INFINITY;
  /** A word about this node that is still to be answered. */
  #unanswered: Row | undefined;
  #outbids = 0;

  /** @param self the node's own first row. */
  constructor(self: Row, seal: RowSeal, nowMs: number) {
    this.#seal = seal;
    this.#self = this.#put(sealRow(self, seal), 'live', nowMs);
  }

  get self(): TableEntry {
    return this.#self;
  }

  /** All rows, also of those that are gone. */
  get size(): number {
    return this.#entries.size;
  }

  /** Live and suspect ones, this node among them, sorted by id; the same array until something changes. */
  live(): readonly Member[] {
    this.#live ??= [...this.#entries.values()]
      .filter((entry) => entry.state !== 'gone')
      .map((entry) => entry.member)
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    return this.#live;
  }

  entry(id: PeerId): TableEntry | undefined {
    return this.#entries.get(id);
  }

  entryOfLife(key: LifeKey): TableEntry | undefined {
    const id = this.#byKey.get(key);
    return id === undefined ? undefined : this.#entries.get(id);
  }

  entries(): IterableIterator<TableEntry> {
    return this.#entries.values();
  }

  hash(): TableHash {
    return this.#hash.toString('hex');
  }

  summary(): SummaryItem[] {
    return [...this.#entries.values()].map(({ key, state, signed }) => ({
      key,
      state,
      version: signed.row.version,
    }));
  }

  /** Takes over what somebody says, if it is newer. A wrong word about this node itself is answered by a new row. */
  merge(entry: Entry, nowMs: number): MergeResult {
    const { signed } = entry;
    const state = signed.row.isLeaving ? 'gone' : entry.state;
    const known = this.#entries.get(signed.row.id);
    if (known === undefined) {
      if (this.#entries.size >= MAX_MEMBERS) return 'full';
    } else {
      if (!isNewer(signed.row, state, known)) return 'known';
      // The same row in a worse state needs no second check, and keeps the signature that was checked.
      if (isSameRow(signed.row, known.signed.row)) return this.#change(known, known.signed, state, nowMs);
    }
    if (!isGenuine(signed, this.#seal)) return 'forged';
    return this.#change(known, signed, state, nowMs);
  }

  /** This node's own verdict about another. @returns whether that is news. */
  judge(id: PeerId, state: 'suspect' | 'gone', nowMs: number): boolean {
    const known = this.#entries.get(id);
    if (known === undefined || id === this.#self.member.id) return false;
    if (LIFE_STATES.indexOf(state) <= LIFE_STATES.indexOf(known.state)) return false;
    this.#put(known.signed, state, nowMs);
    return true;
  }

  /** How often a greater epoch of this very node came by: once after a lost file, again and again with a twin. */
  get outbids(): number {
    return this.#outbids;
  }

  /** Answers what had to wait. @returns whether it did. */
  answer(nowMs: number): boolean {
    const row = this.#unanswered;
    if (row === undefined || nowMs - this.#answeredMs < ANSWER_GAP_MS) return false;
    this.#unanswered = undefined;
    this.#answeredMs = nowMs;
    const own = this.#self.signed.row;
    const isEarlierLife = row.epoch > own.epoch;
    if (isEarlierLife) this.#outbids += 1;
    this.#reissue(
      {
        ...own,
        epoch: isEarlierLife ? row.epoch + 1 : own.epoch,
        version: isEarlierLife ? 0 : row.version + 1,
      },
      nowMs,
    );
    return true;
  }

  /** This node's row becomes another: addresses, a goodbye. */
  renew(
    change: Partial<Pick<Row, 'data' | 'control' | 'zone' | 'epoch' | 'isLeaving'>>,
    nowMs: number,
  ): void {
    const { row } = this.#self.signed;
    this.#reissue({ ...row, ...change, version: row.version + 1 }, nowMs);
  }

  /** Forgets those that have been gone for long. */
  tidy(nowMs: number): void {
    for (const entry of this.#entries.values()) {
      if (entry.state === 'gone' && nowMs - entry.sinceMs > GONE_MEMORY_MS && entry !== this.#self) {
        this.#entries.delete(entry.member.id);
        this.#byKey.delete(entry.key);
      }
    }
  }

  #change(known: TableEntry | undefined, signed: SignedRow, state: LifeState, nowMs: number): MergeResult {
    if (known !== this.#self) {
      this.#put(signed, state, nowMs);
      return 'news';
    }
    // Somebody believes that this node is gone, or knows a row of an earlier life with a greater epoch (a lost file,
    // a clock set back): the answer has to beat it. After the goodbye nothing is answered.
    if (this.#self.signed.row.isLeaving) return 'known';
    this.#unanswered = signed.row;
    return this.answer(nowMs) ? 'news' : 'known';
  }

  #reissue(row: Row, nowMs: number): void {
    this.#self = this.#put(sealRow(row, this.#seal), row.isLeaving ? 'gone' : 'live', nowMs);
  }

  #put(signed: SignedRow, state: LifeState, nowMs: number): TableEntry {
    const { row, key } = signed;
    const before = this.#entries.get(row.id);
    const member = before?.signed === signed ? before.member : memberOf(row);
    const entry: TableEntry = { signed, state, key, member, sinceMs: nowMs };
    if (before !== undefined) {
      this.#foldHash(before);
      if (before.key !== key) this.#byKey.delete(before.key);
    }
    this.#entries.set(row.id, entry);
    this.#byKey.set(key, row.id);
    this.#foldHash(entry);
    this.#live = undefined;
    return entry;
  }

  /** In and out alike. Those that are gone do not count: each node forgets them when it likes. */
  #foldHash({ state, signed }: TableEntry): void {
    if (state === 'gone') return;
    for (let i = 0; i < FOLD_BYTES; i += 1) this.#hash[i] = (this.#hash[i] ?? 0) ^ (signed.fold[i] ?? 0);
  }
}

function isNewer(row: Row, state: LifeState, known: TableEntry): boolean {
  const mine = known.signed.row;
  if (row.epoch !== mine.epoch) return row.epoch > mine.epoch;
  if (row.version !== mine.version) return row.version > mine.version;
  return LIFE_STATES.indexOf(state) > LIFE_STATES.indexOf(known.state);
}

function isSameRow(a: Row, b: Row): boolean {
  return a.epoch === b.epoch && a.version === b.version;
}
