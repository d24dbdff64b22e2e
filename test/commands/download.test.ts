import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { loadConfig } from '../../config/load.ts';
import { type Downloaded, download } from '../../src/commands/get/download.ts';
import { Fetcher } from '../../src/commands/get/fetcher.ts';
import { parseTarget } from '../../src/commands/get/target.ts';
import { parseRange } from '../../src/commands/get/wanted-range.ts';
import { createProgress } from '../../src/commands/progress.ts';
import { DamselflyError, hasCode } from '../../src/errors.ts';
import { seededBytes, startOrigin, type TestBlob, type TestOrigin } from '../support/origin.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

/** The downloads of `get` without its process: many cases of what an origin may do to a range. */
const SIZE = 300_007;
const BYTES = seededBytes('range', { start: 0, end: SIZE });
const { config } = loadConfig({ defaultFile: '/nonexistent' });
let origin: TestOrigin;
let blob: TestBlob;
let folder: TempFolder;
let fetcher: Fetcher;
let count = 0;

before(async () => {
  origin = await startOrigin();
  blob = origin.repository('app').addBlob({ size: SIZE, seed: 'range' });
  folder = await tempFolder();
});
after(async () => {
  await origin.close();
  await folder.remove();
});
beforeEach(() => {
  origin.reset();
  fetcher = new Fetcher({
    config,
    node: undefined,
    headers: { common: [], credential: [] },
    notify: () => undefined,
  });
});
afterEach(() => fetcher.close());

async function part(range: string): Promise<{ bytes: Buffer; result: Downloaded }> {
  const target = parseTarget(origin.url + blob.path);
  assert.ok(target.kind === 'registry');
  count += 1;
  const output = folder.file(`part-${count}`);
  const result = await download({
    fetcher,
    target,
    output,
    range: parseRange(range),
    digest: undefined,
    progress: createProgress('none'),
    notify: () => undefined,
    signal: AbortSignal.timeout(30_000),
  });
  return { bytes: await readFile(output), result };
}

const RANGES = [
  ['0-0', 0, 1],
  ['1000-1999', 1000, 2000],
  ['0-', 0, SIZE],
  [`${SIZE - 10}-`, SIZE - 10, SIZE],
  [`${SIZE - 10}-${SIZE + 500}`, SIZE - 10, SIZE],
  [`0-${SIZE * 2}`, 0, SIZE],
  ['-10', SIZE - 10, SIZE],
  [`-${SIZE * 2}`, 0, SIZE],
] as const;

for (const [range, start, end] of RANGES) {
  test(`the range ${range}`, async () => {
    const { bytes, result } = await part(range);
    assert.deepEqual(bytes, BYTES.subarray(start, end));
    assert.equal(result.bytes, end - start);
    assert.equal(result.verified, false);
    assert.equal(origin.requests.length, 1);
    assert.ok(origin.bytesSent() <= end - start, 'no more than that is sent');
  });

  test(`the range ${range} of an origin that answers 200 with everything`, async () => {
    origin.fault({ match: { endpoint: 'blob' }, action: { ignoreRange: true } });
    assert.deepEqual((await part(range)).bytes, BYTES.subarray(start, end));
  });

  test(`the range ${range} when it breaks off`, async () => {
    origin.fault({
      match: { endpoint: 'blob', times: 1 },
      action: { endAtByte: Math.floor((end - start) / 2) },
    });
    assert.deepEqual((await part(range)).bytes, BYTES.subarray(start, end));
    assert.equal(origin.requests.length, 2);
  });
}

test('a range of another place than asked for, or of no said place, is refused', async () => {
  origin.fault({ match: { endpoint: 'blob' }, action: { contentRange: `bytes 500-600/${SIZE}` } });
  await assert.rejects(part('100-200'), (error) => hasCode(error, 'origin-broken'));
  origin.reset();
  origin.fault({ match: { endpoint: 'blob' }, action: { contentRange: 'nonsense' } });
  await assert.rejects(part('100-200'), (error) => hasCode(error, 'origin-broken'));
});

test('a bad moment of the origin is waited out, a lasting one is told with its status', async () => {
  origin.fault({ match: { endpoint: 'blob', times: 2 }, action: { status: 500 } });
  assert.deepEqual((await part('0-9')).bytes, BYTES.subarray(0, 10));
  origin.fault({ match: { endpoint: 'blob' }, action: { status: 429, retryAfterSeconds: 0 } });
  await assert.rejects(part('0-9'), (error) => {
    return (
      error instanceof DamselflyError && error.code === 'origin-broken' && /answered 429/.test(error.message)
    );
  });
});
