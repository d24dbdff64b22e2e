import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Setup, setup } from '../integration/support/setup.ts';
import { FaultyDisk } from '../store/faulty-disk.ts';
import { eventually } from '../support/eventually.ts';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';
import { seededBytes, type TestBlob } from '../support/origin.ts';

const MIB = 1 << 20;
const SIZE = 20 * MIB + 5;

interface Lab extends Setup {
  readonly disk: FaultyDisk;
  readonly blob: TestBlob;
  get(headers?: Record<string, string>): Promise<HttpAnswer>;
}

async function lab(t: Parameters<typeof setup>[0]): Promise<Lab> {
  const disk = new FaultyDisk();
  const made = await setup(t, { disk, set: ['cache.memoryBytes=4MiB'] });
  // Before the node is stopped, whatever the test did.
  t.after(() => disk.heal());
  const blob = made.origin.repository('lab/disk').addBlob({ size: SIZE, seed: 'disk' });
  return {
    ...made,
    disk,
    blob,
    get: (headers = {}) => httpGet(made.node.url + blob.path, { headers, timeoutMs: 60_000 }),
  };
}

const READS: readonly (readonly [string, Record<string, string>, number, number])[] = [
  ['a range', { Range: `bytes=${3 * MIB + 7}-${5 * MIB}` }, 3 * MIB + 7, 5 * MIB + 1],
  ['an open range', { Range: `bytes=${16 * MIB}-` }, 16 * MIB, SIZE],
  ['a whole read', {}, 0, SIZE],
];

async function assertPulls({ get }: Lab, when: string): Promise<void> {
  for (const [what, headers, start, end] of READS) {
    const answer = await get(headers);
    const told = `${when}, ${what}`;
    assert.ok(
      [200, 206].includes(answer.status),
      `${told}: ${answer.status} ${answer.body.subarray(0, 200)}`,
    );
    assert.ok(answer.complete, `${told}: cut after ${answer.bytes} bytes`);
    assert.ok(answer.body.equals(seededBytes('disk', { start, end })), `${told}: wrong bytes`);
  }
}

describe('a disk that fails never fails a pull', () => {
  const failing: readonly (readonly [string, (disk: FaultyDisk) => void])[] = [
    ['full', (disk) => disk.fail('write', 'ENOSPC')],
    [
      'no free space',
      (disk) => {
        disk.space = { freeBytes: 0 };
      },
    ],
    [
      'read-only',
      (disk) => {
        disk.fail('write', 'EROFS');
        disk.fail('unlink', 'EROFS');
      },
    ],
    ['broken for writing', (disk) => disk.fail('write', 'EIO')],
    ['no files can be opened', (disk) => disk.fail('open', 'EIO')],
    ['out of descriptors', (disk) => disk.fail('open', 'EMFILE')],
    ['stopped for writing', (disk) => disk.stop('write')],
  ];
  for (const [name, breakIt] of failing) {
    it(`${name}: cold`, async (t) => {
      const made = await lab(t);
      breakIt(made.disk);
      await assertPulls(made, 'first');
      await assertPulls(made, 'again');
      assert.equal((await httpGet(`${made.node.url}/healthy`)).status, 200);
      made.disk.heal();
      made.disk.space = {};
      await assertPulls(made, 'healed');
    });
  }

  const unreadable: readonly (readonly [string, (disk: FaultyDisk) => void])[] = [
    ['cannot be read', (disk) => disk.fail('read', 'EIO')],
    [
      'cannot be opened or read',
      (disk) => {
        disk.fail('open', 'EIO');
        disk.fail('read', 'EIO');
      },
    ],
    ['is stopped altogether', (disk) => disk.stop('open', 'read', 'write', 'freeSpace', 'unlink')],
  ];
  for (const [name, breakIt] of unreadable) {
    it(`a warm cache that ${name}: read from the origin, after one failed read at most`, async (t) => {
      const made = await lab(t);
      await assertPulls(made, 'cold');
      breakIt(made.disk);
      for (const [what, headers, start, end] of READS) {
        const right = await eventually(
          async () => {
            const answer = await made.get(headers);
            // What had begun to be read may be cut or refused, but never be wrong or end short and clean.
            if (answer.status >= 500) assert.ok([502, 503, 504].includes(answer.status));
            else
              assert.ok(answer.body.equals(seededBytes('disk', { start, end: start + answer.bytes })), what);
            assert.ok(answer.complete || answer.bytes < end - start, what);
            return answer.complete && answer.status < 300 && answer;
          },
          { timeoutMs: 30_000, what: `${what} while the disk ${name}` },
        );
        assert.equal(right.bytes, end - start);
      }
      assert.equal((await httpGet(`${made.node.url}/v2`)).status, 200);
    });
  }

  it('says so in the metrics', async (t) => {
    const made = await lab(t);
    made.disk.fail('write', 'EROFS');
    await assertPulls(made, 'read-only');
    const metrics = (await httpGet(`http://${made.node.addresses.metrics[0]}/metrics`)).body.toString();
    assert.match(metrics, /^damselfly_\w*degraded\w*(\{[^}]*\})? [1-9]/m);
  });
});
