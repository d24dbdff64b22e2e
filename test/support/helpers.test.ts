import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { digestOf } from '../../src/blob/digest.ts';
import { parseByteRanges, parseContentRange } from './byteranges.ts';
import { eventually } from './eventually.ts';
import { httpGet, keepAlive, rawExchange } from './http-get.ts';
import { expectNoLeak, newlyOpen, openHandles } from './leaks.ts';
import { blackHole, listening, refusingAddress } from './listening.ts';
import { seededBytes, seededDigest, startOrigin } from './origin.ts';
import { Random } from './random.ts';
import { TempFolder, tempFolder } from './temp-folder.ts';
import { rangeHeader, readTrace, TRACES, traceSpan } from './trace.ts';

describe('seeded bytes', () => {
  it('are the same from wherever they are read', () => {
    const whole = seededBytes('s', { start: 0, end: 1_000_000 });
    for (const [start, end] of [
      [0, 1],
      [15, 17],
      [16, 16],
      [1, 400_000],
      [262_143, 262_145],
      [999_999, 1_000_000],
    ] as const) {
      assert.ok(seededBytes('s', { start, end }).equals(whole.subarray(start, end)), `${start}-${end}`);
    }
    assert.ok(!seededBytes('t', { start: 0, end: 100 }).equals(whole.subarray(0, 100)));
    assert.equal(seededDigest('s', 1_000_000), digestOf(whole));
    assert.equal(seededDigest('s', 0), digestOf(Buffer.alloc(0)));
  });

  it('reach past 64 GiB without repeating', () => {
    const far = 2 ** 40 + 7;
    const bytes = seededBytes('s', { start: far, end: far + 32 });
    assert.ok(bytes.subarray(9).equals(seededBytes('s', { start: far + 9, end: far + 32 })));
    assert.ok(!bytes.equals(seededBytes('s', { start: 7, end: 39 })));
  });

  it('make numbers that are spread out and repeatable', () => {
    const [a, b] = [new Random(1), new Random(1)];
    const numbers = Array.from({ length: 40_000 }, () => a.next());
    assert.ok(numbers.every((number) => number === b.next()));
    const mean = numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
    assert.ok(mean > 0.48 && mean < 0.52 && numbers.every((number) => number >= 0 && number < 1));
    assert.deepEqual(new Set(Array.from({ length: 200 }, () => a.integer(3, 6))), new Set([3, 4, 5]));
  });
});

describe('httpGet', () => {
  it('sends the target, the lines and their order as told', async () => {
    await using origin = await startOrigin();
    await httpGet(origin.url, {
      target: 'http://elsewhere.example:5000/v2/lab/app/blobs/x?ns=a//b',
      headers: [
        ['HOST', 'elsewhere.example:5000'],
        ['Accept', 'a'],
        ['aCCEPT', 'b'],
      ],
    });
    const [record] = origin.requests;
    assert.equal(record?.url, 'http://elsewhere.example:5000/v2/lab/app/blobs/x?ns=a//b');
    assert.deepEqual(record?.rawHeaders.slice(0, 6), [
      'HOST',
      'elsewhere.example:5000',
      'Accept',
      'a',
      'aCCEPT',
      'b',
    ]);
  });

  it('hangs up after exactly so many bytes, and keeps connections when asked', async () => {
    await using origin = await startOrigin();
    const blob = origin.repository('r').addBlob({ size: 500_000, seed: 1 });
    for (const abortAfterBytes of [0, 1, 100_001]) {
      const answer = await httpGet(origin.url + blob.path, { abortAfterBytes });
      assert.deepEqual([answer.bytes, answer.complete], [abortAfterBytes, false]);
    }
    const pool = keepAlive({ maxSockets: 1 });
    for (let i = 0; i < 3; i++) await httpGet(origin.url + blob.path, { agent: pool.http });
    pool.destroy();
    assert.equal(new Set(origin.requests.slice(3).map((record) => record.connectionId)).size, 1);
  });

  it('says what cut an answer, and throws when there was none', async () => {
    await using silent = await blackHole();
    await assert.rejects(httpGet(silent.url, { timeoutMs: 50 }), { code: 'ETIMEDOUT' });
    await assert.rejects(httpGet(`http://${await refusingAddress()}`), { code: 'ECONNREFUSED' });
    await assert.rejects(httpGet(silent.url, { signal: AbortSignal.timeout(20) }), { name: 'AbortError' });
    await using origin = await startOrigin();
    const blob = origin.repository('r').addBlob({ size: 500_000, seed: 1 });
    origin.fault({ action: { stallAtByte: 10 } });
    const answer = await httpGet(origin.url + blob.path, { timeoutMs: 100 });
    assert.deepEqual([answer.complete, answer.failure, answer.bytes], [false, 'ETIMEDOUT', 10]);
  });

  it('speaks raw bytes', async () => {
    await using origin = await startOrigin();
    const text = (await rawExchange(origin.host, 'GET /v2/ HTTP/1.0\r\n\r\n')).toString();
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match((await rawExchange(origin.host, 'nonsense\r\n\r\n')).toString(), /^HTTP\/1\.1 400 /);
    await using silent = await blackHole();
    await assert.rejects(rawExchange(silent.host, 'x', { timeoutMs: 50 }), { code: 'ETIMEDOUT' });
    assert.equal((await rawExchange(silent.host, 'x', { endAfterSending: true })).length, 0);
  });
});

describe('multipart/byteranges', () => {
  const part = (range: string, bytes: string) =>
    `Content-Type: text/x\r\nContent-Range: bytes ${range}\r\n\r\n${bytes}`;
  const type = 'multipart/byteranges; boundary=SEP';

  it('is taken apart, whatever the bytes are', () => {
    const body = Buffer.from(
      `preamble\r\n--SEP\r\n${part('0-3/20', 'abcd')}\r\n--SEP\r\n${part('10-18/*', '\r\n--SEPx-')}\r\n--SEP--\r\n`,
    );
    assert.deepEqual(
      parseByteRanges('multipart/byteranges; boundary="SEP"', body).map(
        ({ span, size, bytes, contentType }) => [span, size, bytes.toString(), contentType],
      ),
      [
        [{ start: 0, end: 4 }, 20, 'abcd', 'text/x'],
        [{ start: 10, end: 19 }, undefined, '\r\n--SEPx-', 'text/x'],
      ],
    );
  });

  it('is refused when it is not what it says', () => {
    const refused: [string, RegExp][] = [
      [`--SEP\r\n${part('0-9/20', 'abcd')}\r\n--SEP--`, /not as long/],
      [`--SEP\r\n${part('0-3/20', 'abcd')}\r\n--SEP`, /end of its head/],
      ['--SEP\r\n\r\nabcd\r\n--SEP--', /Content-Range/],
      ['nothing', /boundary/],
    ];
    for (const [body, why] of refused) assert.throws(() => parseByteRanges(type, Buffer.from(body)), why);
    assert.throws(() => parseByteRanges('text/plain', Buffer.from('')), /not multipart/);
    assert.equal(parseContentRange('bytes */5'), null);
    assert.equal(parseContentRange(undefined), null);
  });
});

describe('leaks', () => {
  it('are told: files and sockets', async (t) => {
    const folder = await tempFolder(t);
    const before = openHandles();
    await writeFile(folder.file('left-open'), 'x');
    const handle = await open(folder.file('left-open'));
    await using server = await listening(createServer());
    const socket = connect(server.port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    const found = newlyOpen(before).join('\n');
    assert.match(found, /file .*left-open/);
    assert.match(found, /\d sockets/);
    await handle.close();
    socket.destroy();
    await server.close();
    await eventually(() => newlyOpen(before).length === 0);
  });

  it('fail the test that has one', async (t) => {
    const folder = await tempFolder(t);
    await writeFile(folder.file('f'), 'x');
    let handle: Awaited<ReturnType<typeof open>> | undefined;
    const leaking = expectNoLeak(async () => {
      handle = await open(folder.file('f'));
    }, 50);
    await assert.rejects(leaking, (error: Error) => /still open: file/.test((error.cause as Error).message));
    await handle?.close();
    assert.equal(await expectNoLeak(async () => 5), 5);
  });
});

describe('small helpers', () => {
  it('a temporary folder is gone afterwards', async () => {
    let path: string;
    {
      await using folder = await TempFolder.make();
      path = folder.path;
      await writeFile(folder.file('x'), 'x');
    }
    assert.equal(existsSync(path), false);
  });

  it('eventually gives the value, and the last error when there is none', async () => {
    let n = 0;
    assert.equal(await eventually(() => (++n < 3 ? undefined : n), { everyMs: 1 }), 3);
    await assert.rejects(
      eventually(() => assert.fail('never'), { timeoutMs: 20, what: 'the impossible' }),
      (error: Error) => /the impossible/.test(error.message) && (error.cause as Error).message === 'never',
    );
  });

  it('traces hold what their clients asked for', async () => {
    for (const name of TRACES) {
      const trace = await readTrace(name);
      for (const request of trace.requests) {
        const span = traceSpan(request, trace.blobSize);
        assert.ok(span.start <= span.end && span.end <= trace.blobSize);
      }
    }
    const trace = await readTrace('nydusd-2.2.0-rafs6-whole-tree');
    const [tail] = trace.requests;
    assert.ok(tail);
    assert.equal(rangeHeader(tail), 'bytes=231074363-231556103');
    assert.deepEqual(traceSpan(tail, trace.blobSize), { start: 231_074_363, end: 231_556_104 });
  });
});
