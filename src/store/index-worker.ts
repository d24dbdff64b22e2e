import { createHash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parentPort } from 'node:worker_threads';
import { IndexDatabase, OtherFormat } from './index-database.ts';
import { loadIndex } from './index-load.ts';
import type {
  HashJob,
  HashResult,
  IndexBatch,
  IndexContents,
  IndexFailure,
  IndexOptions,
  IndexReply,
  IndexRequest,
  Note,
} from './index-protocol.ts';
import { FORMAT_VERSION, INDEX_FILE, LOCK_FILE, segmentsPath } from './layout.ts';
import { setAside, takeUp } from './other-format.ts';
import { measureFootprint, removeOldestFiles } from './scan.ts';

/** SQLite's primary result codes (sqlite.org/rescode.html). */
const SQLITE_PERM = 3;
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_NOMEM = 7;
const SQLITE_READONLY = 8;
const SQLITE_INTERRUPT = 9;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

const MAX_OPEN_TRIES = 4;
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
  #options: IndexOptions | null = null;

  open(options: IndexOptions): IndexContents {
    this.#options = options;
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    this.#lock = takeLock(join(options.dir, LOCK_FILE), options.lockWaitMs);
    const notes: Note[] = [];
    if (takeUp(options.dir))
      notes.push({ level: 'info', text: `took up what was set aside of format ${FORMAT_VERSION}` });
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
        this.#apply(request.batch);
        return { id, type: 'applied', indexBytes: this.#opened().allocatedBytes() };
      case 'measure': {
        const database = this.#opened();
        if (!database.isInPlace)
          throw new Failure('damaged', 'the file of the index was removed or replaced');
        const footprint = measureFootprint(this.#dir, database.allocatedBytes());
        return { id, type: 'measured', footprint };
      }
      case 'rebuild':
        this.#rebuild();
        return { id, type: 'rebuilt' };
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

  get #dir(): string {
    return this.#options?.dir ?? '';
  }

  #apply(batch: IndexBatch): void {
    const database = this.#opened();
    try {
      database.apply(batch);
    } catch (error) {
      const { failure } = failureOf(error);
      const isIndexAtFault = failure !== 'disk-full' && isDamage(error, this.#dir);
      throw isIndexAtFault ? new Failure('damaged', messageOf(error)) : error;
    }
  }

  #rebuild(): void {
    if (this.#options === null) throw new Failure('disk-error', 'the index was never open');
    try {
      this.#database?.close();
    } catch {
      // It is damaged: what it could not write any more is written anew.
    }
    this.#database = null;
    mkdirSync(segmentsPath(this.#dir), { recursive: true, mode: 0o700 });
    discardIndex(this.#dir);
    this.#database = new IndexDatabase(this.#options);
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
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !there.isFile() && !there.isSymbolicLink())
    throw new Failure('disk-error', `${path} is not a file; remove it`);
  const lock = new DatabaseSync(path, { timeout: waitMs });
  try {
    // Without a journal nothing is ever written beside or into the file.
    lock.exec('PRAGMA journal_mode = OFF; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    const code = sqliteCode(error);
    if (code === SQLITE_BUSY) throw new Failure('locked', 'another running process holds its lock');
    if (code !== SQLITE_NOTADB && code !== SQLITE_CORRUPT) throw error;
    // Somebody wrote into it. Emptied in place, so that whoever does the same meanwhile still locks the same file.
    truncateSync(path, 0);
    return takeLock(path, waitMs);
  }
}

/**
 * Does what may make the index open at the next try.
 * @returns what was done, for the log; null when there is nothing to do.
 */
function mend(error: unknown, dir: string): Note | null {
  if (error instanceof OtherFormat) {
    const isNewer = error.version > FORMAT_VERSION;
    const aside = setAside(dir, error.version);
    const back = takeUp(dir) ? `what this version had set aside is taken up again` : 'the cache starts empty';
    return {
      level: 'warn',
      text: `${error.message}: it was written by ${isNewer ? 'a newer' : 'an older'} version. It is set aside in ${aside}, and goes when room is needed; ${back}`,
    };
  }
  if (failureOf(error).failure === 'disk-full') {
    const freed = removeOldestFiles(dir, EMERGENCY_BYTES);
    if (freed === 0) return null;
    return { level: 'warn', text: `the disk was full; ${freed} bytes of segment files were removed` };
  }
  if (!isDamage(error, dir)) return null;
  discardIndex(dir);
  rmSync(segmentsPath(dir), { recursive: true, force: true });
  return { level: 'warn', text: `the index was damaged (${messageOf(error)}); the cache starts empty` };
}

/**
 * Whether the index itself is at fault, and not the disk under it. SQLite's word for a damaged byte depends on where it
 * is ("read-only", "no such column"), so the test is: could a file here be written, and is this one readable.
 */
function isDamage(error: unknown, dir: string): boolean {
  const code = sqliteCode(error);
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) return true;
  // An impossible length or type that a damaged row claims.
  const isOfRow = error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError;
  const isTheDisks =
    code === SQLITE_BUSY ||
    code === SQLITE_LOCKED ||
    code === SQLITE_NOMEM ||
    code === SQLITE_INTERRUPT ||
    code === SQLITE_FULL;
  if (isTheDisks || (code === 0 && !isOfRow)) return false;
  const path = join(dir, INDEX_FILE);
  const stat = statSync(path, { throwIfNoEntry: false });
  // A directory, a pipe: nothing that SQLite could ever read.
  if (stat !== undefined && !stat.isFile()) return true;
  if (code === SQLITE_IOERR || stat === undefined) return false;
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    const probe = join(dir, `${INDEX_FILE}-probe`);
    writeFileSync(probe, 'x', { mode: 0o600 });
    rmSync(probe);
    return true;
  } catch {
    return false;
  }
}

function discardIndex(dir: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal', '-probe'])
    rmSync(join(dir, `${INDEX_FILE}${suffix}`), { force: true, recursive: true });
}

/** Reads and hashes one piece in this thread; null when the file is missing or too short. */
function hashPiece(job: HashJob): HashResult | null {
  let fd: number;
  try {
    // Not waiting: somebody may have put a pipe there, which would hold this thread for ever.
    fd = openSync(job.path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return null;
  }
  try {
    const stat = fstatSync(fd, { bigint: true });
    if (!stat.isFile()) return null;
    const { dev, ino } = stat;
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function failureOf(error: unknown): { failure: IndexFailure; message: string } {
  return { failure: kindOf(error), message: messageOf(error) };
}

function kindOf(error: unknown): IndexFailure {
  if (error instanceof Failure) return error.failure;
  const code = sqliteCode(error);
  if (code === SQLITE_BUSY || code === SQLITE_LOCKED) return 'locked';
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
    reply = { id: request.id, type: 'failed', ...failureOf(error) };
  }
  parentPort?.postMessage(reply);
  if (request.type === 'close') parentPort?.close();
});
