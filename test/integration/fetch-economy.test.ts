import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { seededBytes, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { type Setup, setup } from './support/setup.ts';

const MIB = 1 << 20;
/** What is counted here are bytes, and a busy machine makes them late. */
const PATIENT = ['proxy.headersTimeout=20s'];

async function lab(
  t: Parameters<typeof setup>[0],
  size: number,
  set: readonly string[] = [],
): Promise<Setup & { blob: TestBlob }> {
  const made = await setup(t, { set });
  return { ...made, blob: made.origin.repository('lab/economy').addBlob({ size, seed: 'economy' }) };
}

const range = (start: number, bytes: number): { Range: string } => ({
  Range: `bytes=${start}-${start + bytes - 1}`,
});

/** Bytes that the origin sent, once no more are coming. */
async function settled(origin: TestOrigin): Promise<number> {
  let before = -1;
  return eventually(
    async () => {
      await origin.idle();
      const now = origin.bytesSent();
      const still = now === before;
      before = now;
      return still ? { now } : null;
    },
    { timeoutMs: 15_000, everyMs: 150 },
  ).then(({ now }) => now);
}

describe('what a read costs the origin', () => {
  it('one cold range of 128 KiB: its pieces and nothing ahead; the second in a row begins to read ahead', async (t) => {
    const { origin, node, blob } = await lab(t, 64 * MIB);
    const at = 20 * MIB + 4096;
    const first = await httpGet(node.url + blob.path, { headers: range(at, 131_072) });
    assert.ok(first.body.equals(seededBytes('economy', { start: at, end: at + 131_072 })));
    const cold = await settled(origin);
    assert.ok(cold <= 8 * MIB, `${cold} bytes for one cold range`);
    assert.ok(cold <= 2 * MIB, `${cold} bytes: something was read ahead of the first read`);
    // A read elsewhere continues nothing.
    await httpGet(node.url + blob.path, { headers: range(50 * MIB, 131_072) });
    const elsewhere = await settled(origin);
    assert.ok(elsewhere - cold <= 2 * MIB, `${elsewhere - cold} bytes for a read elsewhere`);
    // This one continues the first, past what is here: it is not enough to read more than it wants.
    const next = 21 * MIB;
    await httpGet(node.url + blob.path, { headers: range(next, 131_072) });
    const sequential = (await settled(origin)) - elsewhere;
    assert.ok(sequential > 2 * MIB, `only ${sequential} bytes: nothing was read ahead`);
    assert.ok(sequential <= 11 * MIB, `${sequential} bytes: read-ahead is bounded`);
  });

  it('8.8 10 clients that take chunks of 8 MiB by open-ended ranges and hang up: about one blob', async (t) => {
    const size = 128 * MIB;
    const chunk = 8 * MIB;
    const { origin, node, blob } = await lab(t, size, PATIENT);
    const queue = Array.from({ length: size / chunk }, (_, i) => i * chunk).values();
    const client = async (): Promise<void> => {
      for (const start of queue) {
        let at = start;
        const answer = await httpGet(node.url + blob.path, {
          headers: { Range: `bytes=${start}-` },
          abortAfterBytes: chunk,
          timeoutMs: 60_000,
          onHead: ({ statusCode }) => assert.equal(statusCode, 206),
          onChunk: (bytes) => {
            assert.ok(
              bytes.equals(seededBytes('economy', { start: at, end: at + bytes.length })),
              `wrong bytes at ${at}`,
            );
            at += bytes.length;
          },
        });
        assert.equal(answer.bytes, chunk);
      }
    };
    await Promise.all(Array.from({ length: 10 }, client));
    const cost = (await settled(origin)) / size;
    t.diagnostic(`${cost.toFixed(3)} times the blob`);
    assert.ok(cost <= 1.1, `the origin sent ${cost.toFixed(3)} times the blob`);
  });

  it('8.24 8 whole reads at once: exactly one blob, in any mixture with ranges', async (t) => {
    const { origin, node, blob } = await lab(t, 24 * MIB + 3);
    const reads = Array.from({ length: 8 }, async () => {
      const answer = await httpGet(node.url + blob.path, { timeoutMs: 60_000 });
      assert.equal(answer.status, 200);
      assert.ok(answer.body.equals(seededBytes('economy', { start: 0, end: blob.size })));
    });
    const ranges = Array.from({ length: 8 }, async (_, i) => {
      const start = i * 3 * MIB + 100;
      const answer = await httpGet(node.url + blob.path, { headers: range(start, MIB) });
      assert.ok(answer.body.equals(seededBytes('economy', { start, end: start + MIB })));
    });
    await Promise.all([...reads, ...ranges]);
    const sent = await settled(origin);
    assert.ok(sent <= blob.size * 1.02, `${sent / blob.size} times the blob`);
  });

  it('a whole read by eight alone costs 1.0 blobs, and a warm one nothing', async (t) => {
    const { origin, node, blob } = await lab(t, 24 * MIB + 3);
    await Promise.all(Array.from({ length: 8 }, () => httpGet(node.url + blob.path, { timeoutMs: 60_000 })));
    assert.equal(await settled(origin), blob.size);
    origin.reset();
    for (const headers of [{}, range(7 * MIB, 5 * MIB), { Range: 'bytes=-9' }] as Record<string, string>[]) {
      await httpGet(node.url + blob.path, { headers });
    }
    assert.deepEqual(origin.requests, []);
  });
});

describe('X-Dragonfly-Prefetch', () => {
  const SIZE = 48 * MIB;
  const hinted = { ...range(2 * MIB, 131_072), 'X-Dragonfly-Prefetch': 'true' };

  it('8.25 bounded: some of what follows, and no more', async (t) => {
    const { origin, node, blob } = await lab(t, SIZE);
    await httpGet(node.url + blob.path, { headers: hinted });
    await eventually(() => origin.bytesSent() >= 3 * MIB);
    const sent = await settled(origin);
    assert.ok(sent <= 10 * MIB, `${sent} bytes`);
  });

  it('8.25 whole: the rest of the blob', async (t) => {
    const { origin, node, blob } = await lab(t, SIZE, ['proxy.prefetch=whole']);
    await httpGet(node.url + blob.path, { headers: hinted });
    await eventually(() => origin.bytesSent() >= SIZE - 2 * MIB, { timeoutMs: 20_000 });
    const sent = await settled(origin);
    assert.ok(sent <= SIZE, `${sent} bytes`);
    origin.reset();
    const answer = await httpGet(node.url + blob.path, { headers: range(40 * MIB, MIB) });
    assert.ok(answer.body.equals(seededBytes('economy', { start: 40 * MIB, end: 41 * MIB })));
    assert.deepEqual(origin.requests, []);
  });

  it('8.25 off: nothing', async (t) => {
    const { origin, node, blob } = await lab(t, SIZE, ['proxy.prefetch=off']);
    await httpGet(node.url + blob.path, { headers: hinted });
    const sent = await settled(origin);
    assert.ok(sent <= 2 * MIB, `${sent} bytes`);
  });
});

describe('where an answer came from', () => {
  it('is origin, then memory or disk, and finished only once the whole blob is here and proven', async (t) => {
    const { node, blob } = await lab(t, 3 * MIB + 1);
    const finished = 'x-dragonfly-task-download-finished';
    const first = await httpGet(node.url + blob.path, { headers: range(0, 1000) });
    assert.equal(first.header('x-damselfly-source'), 'origin');
    assert.equal(first.header(finished), undefined);
    assert.equal(first.header('x-dragonfly-task-id'), blob.digest.slice('sha256:'.length));
    // Until its piece is here whole, a second reader of it rides along with the first.
    const second = await eventually(async () => {
      const answer = await httpGet(node.url + blob.path, { headers: range(10, 1000) });
      return answer.header('x-damselfly-source') !== 'origin' && answer;
    });
    assert.match(second.header('x-damselfly-source') ?? '', /^(memory|disk)$/);
    assert.equal(second.header(finished), undefined);
    const whole = await httpGet(node.url + blob.path);
    assert.equal(whole.status, 200);
    assert.equal(whole.header(finished), undefined, 'it was not complete when the head was sent');
    const warm = await eventually(async () => {
      const answer = await httpGet(node.url + blob.path, { headers: range(MIB, 10) });
      return answer.header(finished) === 'true' && answer;
    });
    assert.match(warm.header('x-damselfly-source') ?? '', /^(memory|disk)$/);
  });
});
