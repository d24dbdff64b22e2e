import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { pieceSpan } from '../../../src/blob/piece.ts';
import { startOrigin, type TestOrigin } from '../../support/origin.ts';
import { Random } from '../../support/random.ts';
import { TempFolder } from '../../support/temp-folder.ts';
import { Book, type CrashBlob, type FinishedPiece } from './book.ts';
import { checkedRead, type ReadOutcome, randomRead } from './client.ts';
import { CrashNode } from './node.ts';

const MIB = 1 << 20;
const CLIENTS = 5;
/** Pieces that were finished this long before a kill are expected back. */
const SETTLED_MS = 2_000;
const MAX_CHECKED_PIECES = 120;

export interface CrashReport {
  readonly seed: string;
  rounds: number;
  /** By moment of the kill. */
  readonly kills: { load: number; start: number; stop: number };
  /** Reads that ended as they should, and bytes compared. */
  reads: number;
  comparedBytes: number;
  /** Answers cut by a kill. */
  cutReads: number;
  /** 5xx and cuts while the node lived. */
  refusedReads: number;
  /** One line each. Must stay empty. */
  readonly wrong: string[];
  /** Pieces finished 2 s before a kill: how many were looked at, and how many came without a request to the origin. */
  checkedPieces: number;
  keptPieces: number;
  /** The same, of directories whose quota is too small for their blobs. */
  smallQuota: { checkedPieces: number; keptPieces: number };
  /** Reads of pieces that were here for which the origin was asked about rights only. */
  askedRights: number;
  /** From spawn to the first right answer, one per round. */
  readonly restartMs: number[];
  /** What nodes logged at error level. */
  readonly errors: string[];
}

export interface CrashOptions {
  readonly rounds: number;
  /** Rounds on one cache directory; default 10. Every other directory has a small quota. */
  readonly roundsPerDirectory?: number;
  readonly seed: string;
  readonly main?: string | undefined;
  /** Ends after the round under way. */
  readonly signal?: AbortSignal;
  readonly onRound?: (report: CrashReport) => void;
}

/** Kills a node at random moments under load, again and again, and looks at what it serves afterwards. */
export async function crashRounds(options: CrashOptions): Promise<CrashReport> {
  const report: CrashReport = {
    seed: options.seed,
    rounds: 0,
    kills: { load: 0, start: 0, stop: 0 },
    reads: 0,
    comparedBytes: 0,
    cutReads: 0,
    refusedReads: 0,
    wrong: [],
    checkedPieces: 0,
    keptPieces: 0,
    smallQuota: { checkedPieces: 0, keptPieces: 0 },
    askedRights: 0,
    restartMs: [],
    errors: [],
  };
  const { roundsPerDirectory = 10 } = options;
  for (let from = 0; from < options.rounds; from += roundsPerDirectory) {
    if (options.signal?.aborted) break;
    const random = new Random(`${options.seed} ${from}`);
    await using folder = await TempFolder.make();
    // Slow enough that a kill finds much half done.
    await using origin = await startOrigin({ bytesPerSecond: 60 * MIB });
    // Every other directory is a small one, so that evictions go on all the time.
    const isSmall = (from / roundsPerDirectory) % 2 === 1;
    const log = openSync(folder.file('log'), 'a');
    const site = new CrashSite({
      random,
      origin,
      report,
      log,
      dir: folder.file('cache'),
      isSmall,
      ...options,
    });
    try {
      const rounds = Math.min(roundsPerDirectory, options.rounds - from);
      for (let round = 0; round < rounds; round += 1) {
        await site.round(`${from + round}`);
        report.rounds += 1;
        options.onRound?.(report);
        if (options.signal?.aborted) break;
      }
    } finally {
      await site.close();
      closeSync(log);
    }
    for (const line of readFileSync(folder.file('log'), 'utf8').split('\n'))
      if (/"level":[56]0/.test(line) && report.errors.length < 20) report.errors.push(line);
  }
  return report;
}

/** One cache directory and the node on it. */
class CrashSite {
  readonly #random: Random;
  readonly #origin: TestOrigin;
  readonly #report: CrashReport;
  readonly #isSmall: boolean;
  readonly #start: () => CrashNode;
  readonly #book: Book;
  readonly #blobs: CrashBlob[] = [];
  #node: CrashNode;
  #url = '';

  constructor(options: {
    random: Random;
    origin: TestOrigin;
    report: CrashReport;
    log: number;
    dir: string;
    isSmall: boolean;
    main?: string | undefined;
  }) {
    const { origin, dir, log, main } = options;
    const maxBytes = options.isSmall ? options.random.integer(240, 320) * MIB : 20_000 * MIB;
    this.#random = options.random;
    this.#origin = origin;
    this.#report = options.report;
    this.#isSmall = options.isSmall;
    this.#book = new Book({ maxBytes, evicts: options.isSmall });
    this.#start = () => new CrashNode({ dir, maxBytes, originUrl: origin.url, log, main });
    this.#node = this.#start();
  }

  async close(): Promise<void> {
    await this.#node.kill();
  }

  /** Load, kill, start, check. The node goes on to the next round. */
  async round(name: string): Promise<void> {
    const random = this.#random;
    this.#url = await this.#node.ready();
    const fresh = this.#addBlobs(name);
    const dice = random.next();
    const moment = dice < 0.1 ? 'start' : dice < 0.2 ? 'stop' : 'load';
    const killedAtMs = await this.#load(fresh, moment);
    this.#report.kills[moment] += 1;
    if (moment === 'start') {
      const early = this.#start();
      await sleep(random.integer(0, 700));
      await early.kill();
    }
    const expected = this.#sample(this.#book.expected(killedAtMs - SETTLED_MS));
    this.#book.restarted();
    await this.#restart(fresh);
    await this.#check(expected);
  }

  #addBlobs(name: string): CrashBlob[] {
    const random = this.#random;
    const repository = this.#origin.repository('lab/crash');
    const sizes = [
      random.integer(1, 70_000),
      random.integer(1, 5 * MIB),
      random.integer(8, 24) * MIB,
      random.integer(14 * MIB, 40 * MIB),
    ];
    const fresh = sizes.map((size, n) => {
      const seed = `crash ${this.#report.seed} ${name} ${n}`;
      return { ...repository.addBlob({ size, seed }), seed };
    });
    this.#blobs.push(...fresh);
    return fresh;
  }

  /** Several clients until the kill. @returns the moment of the kill. */
  async #load(fresh: readonly CrashBlob[], moment: 'start' | 'stop' | 'load'): Promise<number> {
    const node = this.#node;
    const state = { isOver: false };
    const clients = Array.from({ length: CLIENTS }, async (_, n) => {
      const random = new Random(`${this.#report.seed} ${this.#report.rounds} client ${n}`);
      while (!state.isOver) {
        const blobs = random.next() < 0.7 ? fresh : this.#blobs;
        const blob = blobs[random.integer(0, blobs.length)];
        if (blob === undefined) break;
        const outcome = await randomRead(random, this.#url, blob, this.#book);
        this.#note(blob, outcome, state.isOver);
        // A node that stops refuses connections.
        if (outcome.status === 0) await sleep(20);
      }
    });
    await sleep(this.#random.integer(SETTLED_MS + 500, SETTLED_MS + 3_000));
    if (moment === 'stop') {
      state.isOver = true;
      node.terminate();
      await sleep(this.#random.integer(0, 300));
    }
    state.isOver = true;
    const killedAtMs = performance.now();
    await node.kill();
    await Promise.all(clients);
    return killedAtMs;
  }

  async #restart(fresh: readonly CrashBlob[]): Promise<void> {
    const begunMs = performance.now();
    this.#node = this.#start();
    this.#url = await this.#node.ready();
    const [blob] = fresh;
    if (blob === undefined) return;
    const outcome = await checkedRead(this.#url, blob, { start: 0, end: blob.size });
    this.#report.restartMs.push(Math.round(performance.now() - begunMs));
    this.#note(blob, outcome, false);
  }

  #sample(pieces: FinishedPiece[]): FinishedPiece[] {
    const left = [...pieces];
    const sample: FinishedPiece[] = [];
    while (left.length > 0 && sample.length < MAX_CHECKED_PIECES) {
      const at = this.#random.integer(0, left.length);
      const [taken] = left.splice(at, 1);
      if (taken !== undefined) sample.push(taken);
    }
    return sample;
  }

  /** One piece at a time, so that what the origin is asked meanwhile is for that piece. */
  async #check(pieces: readonly FinishedPiece[]): Promise<void> {
    await this.#origin.idle();
    const counts = this.#isSmall ? this.#report.smallQuota : this.#report;
    for (const entry of pieces) {
      const { blob, piece } = entry;
      const seen = this.#origin.requests.length;
      const outcome = await checkedRead(this.#url, blob, pieceSpan(piece, blob.size), { book: this.#book });
      this.#note(blob, outcome, false);
      const asked = this.#origin.requests.slice(seen);
      const fetched = asked.some(({ method }) => method === 'GET');
      counts.checkedPieces += 1;
      if (!fetched && outcome.complete && outcome.wrong === undefined) {
        counts.keptPieces += 1;
        if (asked.length > 0) this.#report.askedRights += 1;
      } else {
        this.#book.lost(entry);
        await this.#origin.idle();
      }
    }
  }

  #note(blob: CrashBlob, outcome: ReadOutcome, isOver: boolean): void {
    const report = this.#report;
    report.comparedBytes += outcome.bytes;
    if (outcome.wrong !== undefined)
      report.wrong.push(`round ${report.rounds}, ${blob.seed}: ${outcome.wrong}`);
    if (isOver) report.cutReads += 1;
    else if (outcome.status === 200 || outcome.status === 206) report.reads += 1;
    else report.refusedReads += 1;
  }
}
