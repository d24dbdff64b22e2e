import assert from 'node:assert/strict';
import { lookup } from 'node:dns';
import { stat } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { startNode, type TestNode } from '../integration/support/node.ts';
import { listing } from '../integration/support/setup.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';
import { startOrigin, type TestOrigin } from '../support/origin.ts';
import { TempFolder } from '../support/temp-folder.ts';
import { HeldDisk } from './support/held-disk.ts';
import { addBlob, MIB, metric, read, readRight, readThrough, type SeededBlob } from './support/reads.ts';

/** The contract's: head, and end of a short range; what two busy cores may add to them. */
const HEAD_MS = 2_500;
const END_MS = 4_500;
const SLACK_MS = 1_500;
/** Probes of a disk at fault come ever more seldom. */
const RECOVERY_MS = 30_000;
/** That of `serve`: 5 s for streams, and a few for each thing that waits for the disk. */
const STOP_MS = 15_000;
const PIECES = 20;

interface Lab extends AsyncDisposable {
  readonly disk: HeldDisk;
  readonly origin: TestOrigin;
  readonly node: TestNode;
  /** On the disk, and not read since: every read of it needs the disk. */
  readonly cached: SeededBlob;
  /** In the memory tier. */
  readonly small: SeededBlob;
}

async function lab(): Promise<Lab> {
  await using made = new AsyncDisposableStack();
  const folder = made.use(await TempFolder.make());
  const origin = made.use(await startOrigin());
  const disk = made.use(new HeldDisk(folder.file('pipe')));
  const set = [...listing(origin), 'cache.memoryBytes=2MiB'];
  const node = made.use(await startNode(folder.file('cache'), set, { disk }));
  const cached = addBlob(origin, 'cached', PIECES * MIB);
  const small = addBlob(origin, 'small', 30_000);
  await readThrough(node.url, cached);
  for (let turn = 0; turn < 2; turn += 1) await readRight(node.url, small);
  const all = made.move();
  return { disk, origin, node, cached, small, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

const pieceOf = (piece: number): { start: number; end: number } => ({
  start: piece * MIB + 1000,
  end: piece * MIB + 300_000,
});

/** Within the deadlines whatever it is, and never wrong (`read` looks at the bytes). */
async function readInTime(node: TestNode, blob: SeededBlob, piece: number): Promise<HttpAnswer> {
  const answer = await read(node.url, blob, pieceOf(piece));
  assert.ok(answer.headMs < HEAD_MS + SLACK_MS, `head after ${answer.headMs} ms`);
  assert.ok(answer.endMs < END_MS + SLACK_MS, `end after ${answer.endMs} ms`);
  return answer;
}

const isRight = (answer: HttpAnswer): boolean => answer.complete && answer.status === 206;

async function medianMs(work: () => Promise<HttpAnswer>): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < 25; n += 1) {
    const answer = await work();
    assert.equal(answer.status, 200);
    times.push(answer.endMs);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
}

const ping = (node: TestNode): Promise<HttpAnswer> => httpGet(`${node.url}/v2`);

async function hit({ node, small }: Lab): Promise<HttpAnswer> {
  const answer = await readRight(node.url, small);
  assert.equal(answer.header('x-damselfly-source'), 'memory');
  return answer;
}

// One after the other: each holds threads of the one pool of this process.
describe('a disk that does not answer any more', () => {
  it('holds up nobody who does not need it: pings, memory hits, the loop, the pool of threads', async () => {
    await using made = await lab();
    const { disk, node, cached } = made;
    const before = { ping: await medianMs(() => ping(node)), hit: await medianMs(() => hit(made)) };
    const lag = monitorEventLoopDelay({ resolution: 10 });
    disk.stop();
    const reads = Array.from({ length: PIECES }, (_, piece) => readInTime(node, cached, piece));
    await eventually(() => disk.waiting > 1, { what: 'the disk holds somebody' });
    lag.enable();
    const during = { ping: await medianMs(() => ping(node)), hit: await medianMs(() => hit(made)) };
    for (const what of ['ping', 'hit'] as const)
      assert.ok(during[what] < before[what] * 10 + 50, `${what}: ${during[what]} ms, ${before[what]} before`);
    // Both need a thread of the pool, which the disk must not have all of.
    const others = Promise.all([promisify(lookup)('localhost'), stat(import.meta.filename)]);
    assert.ok((await Promise.race([others, Promise.all(reads)])).length === 2, 'nobody else has a thread');
    await Promise.all(reads);
    lag.disable();
    assert.ok(lag.max / 1e6 < 1_000, `the loop was held for ${lag.max / 1e6} ms`);
    assert.ok(disk.waiting > 0, 'the disk was not stopped');
  });

  it('gets nobody a wrong byte or a late one: read from the origin, and from the disk again once it answers', async () => {
    await using made = await lab();
    const { disk, origin, node, cached } = made;
    disk.stop();
    const first = Array.from({ length: PIECES }, (_, piece) => readInTime(node, cached, piece));
    const right = (await Promise.all(first)).filter(isRight).length;
    assert.ok(right > 0, 'nobody was helped in time');
    // Now the node knows.
    for (let piece = 0; piece < PIECES; piece += 3)
      assert.ok(isRight(await readInTime(node, cached, piece)), `piece ${piece} of the next round`);
    // Not on the disk, and not to be put there.
    const other = addBlob(origin, 'other', 6 * MIB + 5);
    await readThrough(node.url, other);
    assert.ok(isRight(await readInTime(node, other, 2)));
    assert.equal(await metric(node.addresses.metrics[0], 'damselfly_store_degraded'), 1);
    disk.go();
    let tries = 0;
    await eventually(
      async () => {
        // Whether it takes pieces again shows when it is given one.
        await readRight(node.url, addBlob(origin, `after ${tries++}`, 100_000));
        origin.reset();
        const answer = await readRight(node.url, cached, { start: 0, end: 8 * MIB });
        const isKept = answer.header('x-damselfly-source') === 'disk' && origin.bytesSent() === 0;
        return isKept && (await metric(node.addresses.metrics[0], 'damselfly_store_degraded')) === 0;
      },
      { timeoutMs: RECOVERY_MS, everyMs: 300, what: 'the disk is used again' },
    );
  });

  it('does not keep the node from stopping', async () => {
    await using made = await lab();
    const { disk, node, cached } = made;
    disk.stop();
    const whole = read(node.url, cached).catch(() => undefined);
    const ranges = Array.from({ length: 5 }, (_, piece) => readInTime(node, cached, piece));
    await eventually(() => disk.waiting > 1);
    await Promise.all(ranges);
    const began = performance.now();
    await node.stop();
    const tookMs = performance.now() - began;
    assert.ok(tookMs < STOP_MS, `${tookMs} ms`);
    await whole;
    assert.ok(disk.waiting > 0, 'the disk was not stopped');
  });

  for (const delayMs of [700, 3_000]) {
    it(`or only after ${delayMs} ms each time: the deadlines are kept, and the disk is used again when it is fast`, async () => {
      await using made = await lab();
      const { disk, origin, node, cached } = made;
      disk.delayMs = delayMs;
      await Promise.all(Array.from({ length: PIECES }, (_, piece) => readInTime(node, cached, piece)));
      const fresh = addBlob(origin, 'fresh', 5 * MIB);
      for (let piece = 0; piece < 5; piece += 1)
        assert.ok(isRight(await readInTime(node, fresh, piece)), `piece ${piece}`);
      disk.delayMs = 0;
      await eventually(
        async () => {
          const answer = await readRight(node.url, cached, { start: 0, end: 8 * MIB });
          return answer.header('x-damselfly-source') === 'disk';
        },
        { timeoutMs: RECOVERY_MS, everyMs: 300, what: 'the disk is used again' },
      );
    });
  }
});
