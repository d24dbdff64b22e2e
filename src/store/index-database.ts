import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { type FactRow, type IndexBatch, PAGE_BYTES, PAGES_PER_ROW } from './index-protocol.ts';
import { FORMAT_VERSION, INDEX_FILE } from './layout.ts';
import { blobCheck, factCheck, segmentCheck } from './row-check.ts';

const SCHEMA = `
  CREATE TABLE blob (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
    media_type TEXT, proven INTEGER NOT NULL, crc INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE segment (
    blob_id INTEGER NOT NULL, segment INTEGER NOT NULL, file TEXT NOT NULL, present INTEGER NOT NULL,
    used_at_ms INTEGER NOT NULL, digests BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (blob_id, segment)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE fact (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    expires_at_ms INTEGER, crc INTEGER NOT NULL, UNIQUE (kind, key)
  ) STRICT;`;

/** Written by another version, and nothing is known that would carry it over. */
export class OtherFormat extends Error {
  readonly version: number;
  constructor(version: number) {
    super(`the index has format ${version}, and this version has ${FORMAT_VERSION}`);
    this.version = version;
  }
}

/**
 * The index on disk. Used in the worker thread only: every call may wait for the disk.
 * Nothing is fsynced on a commit: after a power cut the log's tail may be lost and data may be missing, and both are
 * found when a piece is first read. SQLite syncs where its own consistency needs it (checkpoints).
 */
export class IndexDatabase {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #maxFactsPerKind: number;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #factCounts = new Map<string, number>();
  readonly #inode: bigint | undefined;

  /** @throws OtherFormat, and SQLite's errors. */
  constructor(options: { dir: string; maxBatchRows: number; maxFactsPerKind: number }) {
    this.#path = join(options.dir, INDEX_FILE);
    this.#maxFactsPerKind = options.maxFactsPerKind;
    keepPrivate(this.#path);
    this.#db = new DatabaseSync(this.#path);
    try {
      // Exclusive: no shared-memory file, and nobody opens it beside us.
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE');
      const version = Number(this.#pragma('user_version'));
      const tables = this.#db.prepare('SELECT count(*) AS n FROM sqlite_schema').get();
      const fresh = version === 0 && tables?.n === 0;
      if (!fresh && version !== FORMAT_VERSION) throw new OtherFormat(version);
      if (fresh) this.#db.exec(`PRAGMA page_size = ${PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL`);
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
      this.#db.exec(`PRAGMA wal_autocheckpoint = ${Math.max(16, options.maxBatchRows * PAGES_PER_ROW)}`);
      if (fresh) this.#db.exec(`BEGIN; ${SCHEMA} PRAGMA user_version = ${FORMAT_VERSION}; COMMIT`);
      else this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      this.#statements = prepare(this.#db);
      this.#inode = inodeOf(this.#path);
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  blobs(): Iterable<Record<string, unknown>> {
    return this.#db.prepare('SELECT id, digest, size, media_type, proven, crc FROM blob').iterate();
  }

  segmentCount(): number {
    return Number(this.#db.prepare('SELECT count(*) AS n FROM segment').get()?.n ?? 0);
  }

  segments(): Iterable<Record<string, unknown>> {
    return this.#db
      .prepare(
        'SELECT blob_id, segment, file, present, used_at_ms, digests, crc FROM segment ORDER BY used_at_ms, blob_id, segment',
      )
      .iterate();
  }

  /** Facts that have not expired, oldest first; the expired and the damaged ones are deleted. */
  facts(nowMs: number): FactRow[] {
    this.#db.prepare('DELETE FROM fact WHERE expires_at_ms <= ?').run(nowMs);
    const rows = this.#db
      .prepare('SELECT seq, kind, key, value, expires_at_ms, crc FROM fact ORDER BY seq')
      .all();
    const remove = this.#db.prepare('DELETE FROM fact WHERE seq = ?');
    const facts: FactRow[] = [];
    for (const row of rows) {
      const { kind, key, value, expires_at_ms: expiresAtMs } = row;
      const fact = { kind, key, value, expiresAtMs } as FactRow;
      if (factCheck(fact) === row.crc) facts.push(fact);
      else remove.run(row.seq ?? null);
    }
    for (const { kind } of facts) this.#factCounts.set(kind, (this.#factCounts.get(kind) ?? 0) + 1);
    return facts;
  }

  apply(batch: IndexBatch): void {
    const statements = this.#statements;
    this.#db.exec('BEGIN');
    try {
      for (const id of batch.removedBlobs) statements.removeBlob.run(id);
      for (const blob of batch.blobs)
        statements.putBlob.run(
          blob.id,
          blob.digest,
          blob.size,
          blob.mediaType,
          blob.proven ? 1 : 0,
          blobCheck(blob),
        );
      for (const { blobId, segment } of batch.removedSegments) statements.removeSegment.run(blobId, segment);
      for (const row of batch.segments)
        statements.putSegment.run(
          row.blobId,
          row.segment,
          row.file,
          row.present,
          Math.round(row.usedAtMs),
          row.digests,
          segmentCheck(row),
        );
      for (const { blobId, segment, usedAtMs } of batch.used)
        statements.touchSegment.run(Math.round(usedAtMs), blobId, segment);
      for (const { kind, key } of batch.removedFacts)
        this.#count(kind, -this.#run(statements.removeFact, kind, key));
      for (const fact of batch.facts) this.#putFact(fact);
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
    this.#giveBackPages();
  }

  /** Allocated bytes of the index, with the pages that still wait in the log. */
  allocatedBytes(): number {
    const pages = Number(this.#pragma('page_count')) * PAGE_BYTES;
    return Math.max(pages, blocksOf(this.#path)) + blocksOf(`${this.#path}-wal`);
  }

  /** False once somebody has removed or replaced the file: SQLite would go on writing to what no start will find. */
  get isInPlace(): boolean {
    return inodeOf(this.#path) === this.#inode;
  }

  close(): void {
    this.#db.close();
  }

  #putFact(fact: FactRow): void {
    // Removed first, so that a renewed fact is a young one.
    this.#count(fact.kind, -this.#run(this.#statements.removeFact, fact.kind, fact.key));
    this.#statements.putFact.run(fact.kind, fact.key, fact.value, fact.expiresAtMs, factCheck(fact));
    this.#count(fact.kind, 1);
    if ((this.#factCounts.get(fact.kind) ?? 0) > this.#maxFactsPerKind)
      this.#count(fact.kind, -this.#run(this.#statements.removeOldestFact, fact.kind));
  }

  #count(kind: string, change: number): void {
    this.#factCounts.set(kind, (this.#factCounts.get(kind) ?? 0) + change);
  }

  #run(statement: StatementSync, ...values: string[]): number {
    return Number(statement.run(...values).changes);
  }

  /** A few pages per batch, so that a store of once many small blobs does not keep a large index for ever. */
  #giveBackPages(): void {
    const free = Number(this.#pragma('freelist_count'));
    if (free > 256 && free * 4 > Number(this.#pragma('page_count')))
      this.#db.prepare('PRAGMA incremental_vacuum(32)').all();
  }

  #pragma(name: string): unknown {
    return this.#db.prepare(`PRAGMA ${name}`).get()?.[name];
  }
}

/**
 * The index holds the key of the requesters' hashes beside them: for the owner's eyes only, also in a directory that
 * others made and may read. SQLite gives its journals the same mode. What fails here fails again, with a reason, when
 * the file is opened.
 */
function keepPrivate(path: string): void {
  try {
    if (existsSync(path)) chmodSync(path, 0o600);
    else closeSync(openSync(path, 'wx', 0o600));
  } catch {
    // A read-only disk, or a file of somebody else's.
  }
}

function prepare(db: DatabaseSync) {
  return {
    putBlob: db.prepare(
      'INSERT OR REPLACE INTO blob (id, digest, size, media_type, proven, crc) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    removeBlob: db.prepare('DELETE FROM blob WHERE id = ?'),
    putSegment: db.prepare(
      `INSERT OR REPLACE INTO segment (blob_id, segment, file, present, used_at_ms, digests, crc) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ),
    touchSegment: db.prepare('UPDATE segment SET used_at_ms = ? WHERE blob_id = ? AND segment = ?'),
    removeSegment: db.prepare('DELETE FROM segment WHERE blob_id = ? AND segment = ?'),
    putFact: db.prepare('INSERT INTO fact (kind, key, value, expires_at_ms, crc) VALUES (?, ?, ?, ?, ?)'),
    removeFact: db.prepare('DELETE FROM fact WHERE kind = ? AND key = ?'),
    removeOldestFact: db.prepare(
      'DELETE FROM fact WHERE seq = (SELECT seq FROM fact WHERE kind = ? ORDER BY seq LIMIT 1)',
    ),
  };
}

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { throwIfNoEntry: false, bigint: true })?.ino;
}

function blocksOf(path: string): number {
  return (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
}
