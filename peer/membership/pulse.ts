import type { PeerId } from '../member.ts';
import type { Link } from './link.ts';
import type { Beat, Message } from './message.ts';
import type { LifeKey } from './row.ts';
import type { MemberTable } from './table.ts';

interface Heard {
  readonly key: LifeKey;
  count: number;
  atMs: number;
}

/**
 * When each member was last heard of: by itself, or by a heartbeat that came through others. A heartbeat is a counter
 * that only its member moves; no clock travels.
 */
export class Pulse {
  readonly #table: MemberTable;
  readonly #heard = new Map<PeerId, Heard>();
  #own = 0;

  constructor(table: MemberTable) {
    this.#table = table;
  }

  /** A word of it came directly, or its row is new here. */
  noteAlive(id: PeerId, nowMs: number): void {
    const entry = this.#table.entry(id);
    if (entry === undefined) return;
    const heard = this.#heard.get(id);
    if (heard?.key === entry.key) heard.atMs = nowMs;
    else this.#heard.set(id, { key: entry.key, count: 0, atMs: nowMs });
  }

  /** How long nothing has been heard of it; 0 for one that is new here. */
  silenceMs(id: PeerId, nowMs: number): number {
    const heard = this.#heard.get(id);
    return heard === undefined ? 0 : nowMs - heard.atMs;
  }

  beat(): void {
    this.#own += 1;
  }

  /** The beats that the other side of this link has not been told, and has not told. */
  beatsFor(link: Link): Message {
    const beats: Beat[] = [];
    for (const { member, key, state } of this.#table.entries()) {
      if (state === 'gone' || member.id === link.peer) continue;
      const count = this.#countOf(member.id, key);
      if (count === 0 || link.knowsBeat(key, count)) continue;
      link.noteBeat(key, count);
      beats.push({ key, count });
    }
    return { kind: 'beats', hash: this.#table.hash(), beats };
  }

  take(link: Link, beats: readonly Beat[], nowMs: number): void {
    for (const { key, count } of beats) {
      const entry = this.#table.entryOfLife(key);
      if (entry === undefined) continue;
      link.noteBeat(key, count);
      if (count <= this.#countOf(entry.member.id, key)) continue;
      this.noteAlive(entry.member.id, nowMs);
      const heard = this.#heard.get(entry.member.id);
      if (heard !== undefined) heard.count = count;
    }
  }

  tidy(): void {
    for (const id of this.#heard.keys()) if (this.#table.entry(id) === undefined) this.#heard.delete(id);
  }

  #countOf(id: PeerId, key: LifeKey): number {
    if (id === this.#table.self.member.id) return this.#own;
    const heard = this.#heard.get(id);
    return heard?.key === key ? heard.count : 0;
  }
}
