import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { BYTES, exists, getLab, SIZE, serveObject, stopHalfway } from './get-lab.ts';

/** Downloads that break off: what is kept, and how they go on. */
const lab = getLab();

test('a transfer that breaks off goes on where it broke off', async () => {
  lab.origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { resetAtByte: 2 ** 20 } });
  lab.origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { endAtByte: 2 ** 19 } });
  lab.origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { status: 503, retryAfterSeconds: 0 } });
  const file = lab.output();
  const { code, stderr } = await lab.get(lab.url, file);
  assert.equal(code, 0, stderr);
  assert.deepEqual(await readFile(file), BYTES);
  assert.equal(lab.origin.requests.length, 4);
  const starts = lab.origin.requests.map(({ range }) =>
    Number(/^bytes=(\d+)-/.exec(range ?? 'bytes=0-')?.[1]),
  );
  assert.ok(
    starts.every((start, i) => start >= (starts[i - 1] ?? 0)),
    starts.join(),
  );
  assert.ok(lab.origin.bytesSent() < SIZE + 2 ** 20, 'what was there is not asked for again');
});

test('an interrupted download leaves FILE.partial, and the next run goes on from it', async () => {
  const file = lab.output();
  const first = await lab.begin(file);
  const { code, stderr } = await stopHalfway(first, file);
  assert.equal(code, 1);
  assert.match(stderr, /stopped; the same command goes on from here/);
  assert.equal(await exists(file), false);
  lab.origin.reset();
  const second = await lab.get(lab.url, file, ['--json']);
  assert.equal(second.code, 0, second.stderr);
  assert.deepEqual(await readFile(file), BYTES);
  const { resumedBytes } = second.json();
  assert.ok(Number(resumedBytes) > 0);
  assert.equal(lab.origin.requests[0]?.range, `bytes=${resumedBytes}-${SIZE - 1}`);
});

test('what an earlier run left is thrown away when it turns out to be wrong, or of something else', async () => {
  const file = lab.output();
  const first = await lab.begin(file);
  await stopHalfway(first, file);
  const state = await readFile(`${file}.partial.state`, 'utf8');
  assert.doesNotMatch(state, /http/, 'a URL may hold a secret');
  const other = lab.origin.repository('app').addBlob(Buffer.from('another blob'));
  await writeFile(`${file}.partial`, Buffer.alloc(5000, 1));
  const wrong = await lab.get(lab.url, file);
  assert.equal(wrong.code, 0, wrong.stderr);
  assert.match(wrong.stderr, /does not fit; starting over/);
  assert.deepEqual(await readFile(file), BYTES);
  await writeFile(`${file}.partial`, Buffer.alloc(5000, 1));
  await writeFile(`${file}.partial.state`, state);
  assert.equal((await lab.get(lab.origin.url + other.path, file)).code, 0);
  assert.equal(await readFile(file, 'utf8'), 'another blob');
});

test('a file that another process downloads is refused', async () => {
  const file = lab.output();
  const first = await lab.begin(file);
  const { code, stderr } = await lab.get(lab.url, file);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`process ${first.pid} is downloading to this file already`));
  lab.origin.clearFaults();
  assert.equal((await first.result).code, 0);
  assert.deepEqual(await readFile(file), BYTES);
});

test('an object is continued only under its ETag; one that changed is taken anew', async (t) => {
  let version = 1;
  const body = (): Buffer => Buffer.alloc(300_000, version);
  const ranges: (string | undefined)[] = [];
  const conditions: unknown[] = [];
  const server = await serveObject(t, (request, response) => {
    const whole = body();
    ranges.push(request.headers.range);
    conditions.push(request.headers['if-range']);
    const etag = `"v${version}"`;
    const isSame = request.headers['if-range'] === etag;
    const start = isSame ? Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0) : 0;
    const head = { ETag: etag, 'Content-Length': whole.length - start };
    if (start > 0)
      response.writeHead(206, {
        ...head,
        'Content-Range': `bytes ${start}-${whole.length - 1}/${whole.length}`,
      });
    else response.writeHead(200, head);
    if (ranges.length % 2 === 0) response.end(whole.subarray(start));
    else response.write(whole.subarray(start, start + 100_000), () => response.destroy());
    if (ranges.length === 3) version = 2;
  });
  const same = lab.output();
  assert.equal((await lab.get(`${server.url}/o`, same)).code, 0);
  assert.deepEqual(await readFile(same), Buffer.alloc(300_000, 1));
  assert.match(ranges[1] ?? '', /^bytes=\d+-299999$/);
  assert.deepEqual(conditions, [undefined, '"v1"']);
  const changed = lab.output();
  const { code, stderr } = await lab.get(`${server.url}/o`, changed);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /the target is not what it was; starting over/);
  assert.deepEqual(await readFile(changed), Buffer.alloc(300_000, 2));
});
