import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { OnReadOpts } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { TlsExchange } from '../../../peer/exchange/tls/tls-exchange.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { parseKeyFile } from '../../../peer/identity/network-key-file.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { Member, PeerId } from '../../../peer/member.ts';
import type { Realm } from '../../../peer/messages.ts';
import type { Digest } from '../../../src/blob/digest.ts';
import { PIECE_BYTES } from '../../../src/blob/piece.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { DISTINCT_PIECES, makePieces } from './content.ts';
import type { ReaderSetup, ReadJob, ReadResult } from './job.ts';

/** Pieces of the file; later ones are written over earlier ones. */
const FILE_PIECES = 64;

const digests = makePieces().map((bytes) => createHash('sha256').update(bytes).digest());

/** Calls `done` with each piece; settles when all of them are done. */
type FetchAll = (job: ReadJob, done: (piece: number, bytes: Buffer) => Promise<void>) => Promise<void>;

/** Buffers of pieces, used again. */
class Buffers {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  give(buffer: Buffer): void {
    this.#free.push(buffer);
  }
}

export class Reader {
  readonly #file: FileHandle;
  readonly #buffers: Buffers;
  readonly #fetch: FetchAll;

  private constructor(file: FileHandle, buffers: Buffers, fetch: FetchAll) {
    this.#file = file;
    this.#buffers = buffers;
    this.#fetch = fetch;
  }

  static async start(setup: ReaderSetup): Promise<Reader> {
    const file = await open(setup.file, 'w');
    const buffers = new Buffers();
    const over = setup.way === 'exchange' ? overExchange : overPlainTls;
    return new Reader(file, buffers, await over(setup, buffers));
  }

  /** Reads, checks and writes so many pieces. */
  async read(job: ReadJob): Promise<ReadResult> {
    const startMs = performance.now();
    await this.#fetch(job, async (piece, bytes) => {
      const sha256 = createHash('sha256').update(bytes).digest();
      if (!digests[piece % DISTINCT_PIECES]?.equals(sha256)) throw new Error(`piece ${piece} is wrong`);
      await this.#file.write(bytes, 0, bytes.length, (piece % FILE_PIECES) * PIECE_BYTES);
      this.#buffers.give(bytes);
    });
    return { bytes: job.pieces * PIECE_BYTES, seconds: (performance.now() - startMs) / 1000 };
  }
}

async function overExchange(setup: ReaderSetup, buffers: Buffers): Promise<FetchAll> {
  const exchange = await TlsExchange.create({
    identity: Identity.fromPem(setup.identity),
    keys: new NetworkKeys(parseKeyFile('bench', setup.networkKey)),
    pool: buffers,
    log: silentLogger,
  });
  const { id, port } = setup.holder;
  const holder: Member = {
    id: id as PeerId,
    data: [{ host: '127.0.0.1', port }],
    control: [],
    zone: '',
    epoch: 1,
  };
  const fixed = {
    realm: '0123456789abcdef' as Realm,
    digest: `sha256:${'0'.repeat(64)}` as Digest,
    size: 2 ** 40,
    urgency: 'demand',
    waitMs: 10_000,
  } as const;
  const signal = new AbortController().signal;
  return async (job, done) => {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < job.pieces) {
        const piece = next;
        next += 1;
        const outcome = await exchange.fetch(holder, { ...fixed, piece }, () => undefined, signal);
        if (outcome.kind !== 'piece') throw new Error(`piece ${piece}: ${outcome.kind}`);
        await done(piece, outcome.bytes);
      }
    };
    await Promise.all(Array.from({ length: job.window }, lane));
  };
}

/** As plain as it gets: one socket, questions ahead, bytes in the order of the questions. */
async function overPlainTls(setup: ReaderSetup, buffers: Buffers): Promise<FetchAll> {
  let piece = buffers.take();
  let at = 0;
  let onPiece: (bytes: Buffer) => void = () => undefined;
  const advance = (bytes: number): void => {
    at += bytes;
    if (at < PIECE_BYTES) return;
    const whole = piece;
    piece = buffers.take();
    at = 0;
    onPiece(whole);
  };
  const onread: OnReadOpts = {
    buffer: () => piece.subarray(at),
    callback: (bytes) => {
      advance(bytes);
      return true;
    },
  };
  const options: ConnectionOptions & { onread?: OnReadOpts } = {
    host: '127.0.0.1',
    port: setup.holder.port,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    ...(setup.way === 'plain onread' ? { onread } : {}),
  };
  const socket = connect(options);
  await new Promise((ready, failed) => socket.once('secureConnect', ready).once('error', failed));
  socket.setNoDelay(true);
  if (setup.way === 'plain') {
    socket.on('data', (bytes: Buffer) => {
      for (let from = 0; from < bytes.length; ) {
        const copied = bytes.copy(piece, at, from);
        from += copied;
        advance(copied);
      }
    });
  }
  const ask = (index: number): void => {
    const question = Buffer.alloc(4);
    question.writeUInt32BE(index);
    socket.write(question);
  };
  return (job, done) =>
    new Promise((resolve, reject) => {
      let asked = 0;
      let arriving = 0;
      let stored = 0;
      onPiece = (bytes) => {
        const index = arriving;
        arriving += 1;
        if (asked < job.pieces) ask(asked++);
        done(index, bytes).then(() => {
          stored += 1;
          if (stored === job.pieces) resolve();
        }, reject);
      };
      while (asked < Math.min(job.window, job.pieces)) ask(asked++);
    });
}
