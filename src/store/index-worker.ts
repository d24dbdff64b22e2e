import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parentPort } from 'node:worker_threads';
import { IndexDatabase, NewerFormat, ObsoleteFormat } from './index-database.ts';
import { loadIndex } from './index-load.ts';
import type {
  HashJob,
  HashResult,
  IndexContents,
  IndexFailure,
  IndexOptions,
  IndexReply,
  IndexRequest,
} from './index-protocol.ts';
import { INDEX_FILE, LOCK_FILE, segmentsPath } from './layout.ts';
import { measureFootprint, removeOldestFiles } from './scan.ts';

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const SQLITE_PERM = 3;
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

const MAX_OPEN_TRIES = 3;
/** What the index needs to be opened, with much to spare. */
const EMERGENCY_BYTES = 32 << 20;

class Failure extends Error {
  readonly failure: IndexFailure;
  constructor(failure: IndexFailure, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** Owner of the index and of the lock, for as long as the thread lives. All its calls are synchronous by intent. */
class IndexKeeper {
  #lock: DatabaseSync | null = null;
  #database: IndexDatabase | null = null;
  #dir = '';

  open(options: IndexOptions): IndexContents {
    this.#dir = options.dir;
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    this.#lock = takeLock(join(options.dir, LOCK_FILE), options.lockWaitMs);
    const notes: string[] = [];
    for (let tries = 1; ; tries += 1) {
      try {
        this.#database = new IndexDatabase(options);
        const contents = loadIndex(this.#database, options);
        return { ...contents, notes: [...notes, ...contents.notes] };
      } catch (error) {
        const mended = tries < MAX_OPEN_TRIES ? mend(error, options.dir) : null;
        if (mended === null) throw error;
        notes.push(mended);
        this.#database?.close();
        this.#database = null;
      }
    }
  }

  handle(request: IndexRequest): IndexReply {
    const { id } = request;
    switch (request.type) {
      case 'open':
        return { id, type: 'opened', contents: this.open(request.options) };
      case 'apply':
        this.#opened().apply(request.batch);
        return { id, type: 'applied', indexBytes: this.#opened().allocatedBytes() };
      case 'measure': {
        const footprint = measureFootprint(this.#dir, this.#opened().allocatedBytes());
        return { id, type: 'measured', footprint };
      }
      case 'hash':
        return { id, type: 'hashed', result: hashPiece(request.job) };
      case 'close':
        this.close();
        return { id, type: 'closed' };
    }
  }

  close(): void {
    this.#database?.close();
    this.#database = null;
    this.#lock?.close();
    this.#lock = null;
  }

  #opened(): IndexDatabase {
    if (this.#database === null) throw new Failure('disk-error', 'the index is not open');
    return this.#database;
  }
}

/**
 * An exclusive transaction on a database that stays empty. It is a kernel record lock, so it dies with the process,
 * however that ends; SQLite adds what record locks lack, that two holders in one process exclude each other as well.
 */
function takeLock(path: string, waitMs: number): DatabaseSync {
  const lock = new DatabaseSync(path, { timeout: waitMs });
  try {
    // Without a journal nothing is ever written beside or into the file.
    lock.exec('PRAGMA journal_mode = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if (sqliteCode(error) === SQLITE_BUSY)
      throw new Failure('locked', 'another running process holds its lock');
    throw error;
  }
}

/**
 * Does what may make the index open at the next try.
 * @returns what was done, for the log; null when there is nothing to do.
 */
function mend(error: unknown, dir: string): string | null {
  const code = sqliteCode(error);
  if (error instanceof ObsoleteFormat) {
    discard(dir);
    return `the index was of an older format (${error.message}); the cache starts empty`;
  }
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    discard(dir);
    return 'the index was damaged; the cache starts empty';
  }
  if (code === SQLITE_FULL || failureOf(error) === 'disk-full') {
    const freed = removeOldestFiles(dir, EMERGENCY_BYTES);
    return freed > 0 ? `the disk was full; ${freed} bytes of segment files were removed` : null;
  }
  return null;
}

function discard(dir: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal'])
    rmSync(join(dir, `${INDEX_FILE}${suffix}`), { force: true });
  rmSync(segmentsPath(dir), { recursive: true, force: true });
}

/** Reads and hashes one piece in this thread; null when the file is missing or too short. */
function hashPiece(job: HashJob): HashResult | null {
  let fd: number;
  try {
    fd = openSync(job.path, 'r');
  } catch {
    return null;
  }
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    const hash = createHash('sha256');
    const step = Buffer.allocUnsafe(256 * 1024);
    for (let done = 0; done < job.length; ) {
      const got = readSync(fd, step, 0, Math.min(step.length, job.length - done), job.offset + done);
      if (got === 0) return null;
      hash.update(step.subarray(0, got));
      done += got;
    }
    return { sha256: new Uint8Array(hash.digest()), dev, ino };
  } catch {
    return null;
  } finally {
    closeSync(fd);
  }
}

/** The primary result code of an error of node:sqlite, or 0. */
function sqliteCode(error: unknown): number {
  if (!(error instanceof Error) || !('errcode' in error)) return 0;
  return Number(error.errcode) & 0xff;
}

function failureOf(error: unknown): IndexFailure {
  if (error instanceof Failure) return error.failure;
  if (error instanceof NewerFormat) return 'newer';
  const code = sqliteCode(error);
  if (code === SQLITE_FULL) return 'disk-full';
  if (code === SQLITE_READONLY || code === SQLITE_PERM || code === SQLITE_CANTOPEN) return 'read-only';
  if (error instanceof Error && 'code' in error) {
    if (error.code === 'ENOSPC' || error.code === 'EDQUOT') return 'disk-full';
    if (error.code === 'EROFS' || error.code === 'EACCES' || error.code === 'EPERM') return 'read-only';
  }
  return 'disk-error';
}

const keeper = new IndexKeeper();
parentPort?.on('message', (request: IndexRequest) => {
  let reply: IndexReply;
  try {
    reply = keeper.handle(request);
  } catch (error) {
    if (request.type === 'open') keeper.close();
    const message = error instanceof Error ? error.message : String(error);
    reply = { id: request.id, type: 'failed', failure: failureOf(error), message };
  }
  parentPort?.postMessage(reply);
  if (request.type === 'close') parentPort?.close();
});
