import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseByteRanges, parseContentRange } from '../support/byteranges.ts';
import { type HttpAnswer, httpGet, keepAlive } from '../support/http-get.ts';
import { expectNoLeak } from '../support/leaks.ts';
import { seededBytes, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { Random } from '../support/random.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { startNode, type TestNode } from './support/node.ts';
import { type RandomRequest, randomRequest, rightAnswer } from './support/reference.ts';

const REQUESTS = Number(process.env.DAMSELFLY_TEST_REQUESTS ?? 10_000);
const SEED = process.env.DAMSELFLY_TEST_SEED ?? '1';
const LANES = 8;
const MAX_CACHE_BYTES = 48 << 20;
const MIB = 1 << 20;
const BIG_SIZES = [5 * MIB + 17, 16 * MIB, 16 * MIB + 1, 24 * MIB - 1, 33 * MIB, 40 * MIB];
const EDGE_SIZES = [0, 1, 2, 511, 65_536, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB - 1];
/** One blob of some KiB more for each of these: files, index rows and first reads in number. */
const SMALL_BLOBS = 400;
/** Of the requests, how many go to the big blobs: enough to turn the cache over many times. */
const BIG_SHARE = 0.12;
const SAMPLE_EVERY = 20;

// Every form of request, cold, warm and evicted, hung up on and restarted, against the plainest reference there is.
describe(`${REQUESTS} random requests (seed ${SEED})`, () => {
  it('equal a naive reference, within the quota, and leave nothing open', async (t) => {
    const warnings: string[] = [];
    const warn = (warning: Error): void => void warnings.push(`${warning.name}: ${warning.message}`);
    process.on('warning', warn);
    t.after(() => process.off('warning', warn));
    const folder = await tempFolder(t);
    await expectNoLeak(async () => {
      await using origin = await startOrigin();
      const run = new Run(origin, folder.file('cache'));
      await run.all();
      assert.deepEqual(run.overQuota, [], 'allocated blocks under cache.dir went past cache.maxBytes');
      t.diagnostic(
        `${JSON.stringify(run.counts)}, most bytes on disk ${run.mostBytes}, of the origin ${origin.bytesSent()}`,
      );
      for (const kind of ['200', '206', 'multipart', '416', '400', 'HEAD', 'aborted', 'evicted'] as const)
        assert.ok((run.counts[kind] ?? 0) > 0, `no request was of the kind ${kind}`);
    });
    assert.deepEqual(warnings, [], 'node warned: too many listeners on one emitter');
  });
});

interface KnownBlob extends TestBlob {
  readonly bytes: Buffer;
}

class Run {
  readonly counts: Record<string, number> = {};
  readonly overQuota: string[] = [];
  mostBytes = 0;
  readonly #origin: TestOrigin;
  readonly #dir: string;
  readonly #random = new Random(SEED);
  readonly #big: readonly KnownBlob[];
  readonly #small: readonly KnownBlob[];
  readonly #pool = keepAlive({ maxSockets: LANES });
  #done = 0;

  constructor(origin: TestOrigin, dir: string) {
    this.#origin = origin;
    this.#dir = dir;
    const base = seededBytes('random requests', { start: 0, end: 48 * MIB });
    const repository = origin.repository('lab/random');
    let at = 0;
    const add = (size: number): KnownBlob => {
      // Windows of one buffer, each with its own beginning, so that no two blobs are equal where it matters.
      at = (at + 4099) % (base.length - size);
      const bytes = base.subarray(at, at + size);
      return { ...repository.addBlob(bytes), bytes };
    };
    this.#big = BIG_SIZES.map(add);
    this.#small = [
      ...EDGE_SIZES.map(add),
      ...Array.from({ length: SMALL_BLOBS }, () => add(this.#random.integer(1, 20_000))),
    ];
  }

  async all(): Promise<void> {
    // In three lives, so that what was kept is read again after a start.
    for (let life = 1; life <= 3; life += 1) {
      await using node = await startNode(this.#dir, [
        `cache.maxBytes=${MAX_CACHE_BYTES >> 20}MiB`,
        'cache.memoryBytes=16MiB',
        `origins=${JSON.stringify([{ host: this.#origin.host, insecure: true }])}`,
        `proxy.defaultOrigin=${this.#origin.url}`,
      ]);
      const until = Math.round((REQUESTS * life) / 3);
      const lane = async (): Promise<void> => {
        while (this.#done < until) {
          this.#done += 1;
          await this.#one(node);
          if (this.#done % SAMPLE_EVERY === 0) this.#sample();
        }
      };
      try {
        await Promise.all(Array.from({ length: LANES }, lane));
      } finally {
        if (life === 3) this.#pool.destroy();
      }
      const metrics = await httpGet(`http://${node.addresses.metrics[0]}/metrics`);
      const evicted = /^damselfly_evicted_segments_total (\d+)/m.exec(metrics.body.toString())?.[1];
      this.#count('evicted', Number(evicted ?? 0));
    }
  }

  #count(kind: string, by = 1): void {
    this.counts[kind] = (this.counts[kind] ?? 0) + by;
  }

  #sample(): void {
    const bytes = allocatedBytes(this.#dir);
    this.mostBytes = Math.max(this.mostBytes, bytes);
    if (bytes > MAX_CACHE_BYTES) this.overQuota.push(`${bytes} after ${this.#done} requests`);
  }

  async #one(node: TestNode): Promise<void> {
    const random = this.#random;
    const isBig = random.next() < BIG_SHARE;
    const blob = random.pick((isBig ? this.#big : this.#small) as [KnownBlob, ...KnownBlob[]]);
    // Whole reads of big blobs are rare: they take most of the time.
    const request = randomRequest(random, blob.size, isBig && random.next() < 0.6);
    const right = rightAnswer(request, blob.size);
    const length = 'span' in right ? right.span.end - right.span.start : 0;
    const hangsUp = request.method === 'GET' && length > 1 && random.next() < 0.08;
    const abortAfterBytes = hangsUp ? random.integer(0, length) : undefined;
    const what = `${request.method} ${blob.size} B ${request.range?.slice(0, 200)} if-range ${request.ifRange}, until ${abortAfterBytes}`;
    try {
      const answer = await httpGet(`${node.url}${blob.path}`, {
        method: request.method,
        headers: headersOf(request, blob),
        timeoutMs: 60_000,
        ...(abortAfterBytes === undefined ? { agent: this.#pool.http } : { abortAfterBytes }),
      });
      this.#check(answer, request, blob, abortAfterBytes);
    } catch (error) {
      const status = await httpGet(`http://${node.addresses.admin[0]}/api/v1/status`);
      const { recentErrors } = status.json() as { recentErrors: unknown };
      throw new Error(`request ${this.#done}: ${what}; ${JSON.stringify(recentErrors)}`, { cause: error });
    }
  }

  #check(answer: HttpAnswer, request: RandomRequest, blob: KnownBlob, cutAt: number | undefined): void {
    const right = rightAnswer(request, blob.size);
    this.#count(request.method === 'HEAD' ? 'HEAD' : String(right.status));
    const status = right.status === 'multipart' ? 206 : right.status;
    if (answer.status !== status) {
      assert.fail(`status ${answer.status}, not ${status}: ${answer.body.subarray(0, 300).toString()}`);
    }
    if (right.status === 400) return;
    assert.equal(answer.header('docker-content-digest'), blob.digest);
    if (right.status === 416) {
      assert.equal(answer.header('content-range'), `bytes */${blob.size}`);
      assert.equal(answer.bytes, 0);
      return;
    }
    if (cutAt === undefined) assert.ok(answer.complete, `cut after ${answer.bytes} bytes: ${answer.failure}`);
    if (right.status === 'multipart') {
      const parts = parseByteRanges(answer.header('content-type'), answer.body);
      assert.deepEqual(
        parts.map(({ span }) => span),
        right.spans,
      );
      for (const part of parts) {
        assert.equal(part.size, blob.size);
        assert.ok(
          part.bytes.equals(blob.bytes.subarray(part.span.start, part.span.end)),
          'wrong bytes in a part',
        );
      }
      return;
    }
    const { span } = right;
    assert.equal(answer.header('content-length'), String(span.end - span.start));
    if (right.status === 206) {
      assert.deepEqual(parseContentRange(answer.header('content-range')), { span, size: blob.size });
    } else {
      assert.equal(answer.header('content-range'), undefined);
    }
    if (cutAt !== undefined) this.#count('aborted');
    const end = request.method === 'HEAD' ? span.start : cutAt === undefined ? span.end : span.start + cutAt;
    assert.equal(answer.bytes, end - span.start);
    assert.ok(answer.body.equals(blob.bytes.subarray(span.start, end)), 'wrong bytes');
  }
}

function headersOf({ range, ifRange }: RandomRequest, { digest }: KnownBlob): Record<string, string> {
  const tags = {
    right: `"${digest}"`,
    wrong: '"sha256:0"',
    weak: `W/"${digest}"`,
    date: 'Tue, 15 Nov 1994 12:45:26 GMT',
  };
  return {
    ...(range === undefined ? {} : { Range: range }),
    ...(ifRange === 'none' ? {} : { 'If-Range': tags[ifRange] }),
  };
}

/** Allocated blocks, as du counts them. In one step of the loop, so that nothing moves between two files. */
function allocatedBytes(dir: string): number {
  let bytes = statSync(dir).blocks * 512;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) bytes += allocatedBytes(path);
    else bytes += (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
  }
  return bytes;
}
