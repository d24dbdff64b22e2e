import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Setup, setup } from '../integration/support/setup.ts';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';
import { type FaultAction, type OriginOptions, seededBytes, type TestBlob } from '../support/origin.ts';

const MIB = 1 << 20;
const SIZE = 6 * MIB + 321;

interface Lab extends Setup {
  readonly blob: TestBlob;
  get(headers?: Record<string, string>): Promise<HttpAnswer>;
}

async function lab(t: Parameters<typeof setup>[0], options: OriginOptions = {}): Promise<Lab> {
  const made = await setup(t, { origin: options });
  const blob = made.origin.repository('lab/broken').addBlob({ size: SIZE, seed: 'broken' });
  return {
    ...made,
    blob,
    get: (headers = {}) => httpGet(made.node.url + blob.path, { headers, timeoutMs: 30_000 }),
  };
}

const READS: readonly (readonly [string, Record<string, string>, number, number])[] = [
  ['a whole read', {}, 0, SIZE],
  ['a range', { Range: `bytes=${MIB + 7}-${4 * MIB}` }, MIB + 7, 4 * MIB + 1],
  ['an open range', { Range: `bytes=${2 * MIB}-` }, 2 * MIB, SIZE],
  ['a suffix', { Range: 'bytes=-700000' }, SIZE - 700_000, SIZE],
];

function assertRight(what: string, answer: HttpAnswer, start = 0, end = SIZE): void {
  assert.ok([200, 206].includes(answer.status), `${what}: ${answer.status} ${answer.body.subarray(0, 300)}`);
  assert.ok(answer.complete, `${what}: cut after ${answer.bytes} bytes`);
  assert.equal(answer.header('content-encoding'), undefined, what);
  assert.ok(answer.body.equals(seededBytes('broken', { start, end })), `${what}: wrong bytes`);
}

/** Either a status of ours, or a body that was reset and is right as far as it went: never a clean short end. */
function assertFailedWell(what: string, answer: HttpAnswer, start: number, end: number): void {
  if (answer.status >= 500) {
    assert.ok([502, 503, 504].includes(answer.status), `${what}: ${answer.status}`);
    return;
  }
  assert.equal(answer.complete, false, `${what}: ${answer.status} ended cleanly after ${answer.bytes} bytes`);
  // With a size that was a lie, all that there is may have come before the reset.
  assert.ok(answer.bytes <= end - start, what);
}

/**
 * A breaker may have opened: its probe comes within a second. And the first true answer after a lie about the size
 * contradicts it: that read fails, and the lie is dropped.
 */
async function mended(read: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
  for (let tries = 0; ; tries += 1) {
    const answer = await read();
    if ((answer.status < 500 && answer.complete) || tries === 20) return answer;
    await sleep(200);
  }
}

describe('bodies that break are mended', () => {
  const breaks: readonly (readonly [string, FaultAction, number])[] = [
    ['reset after 300 KB', { resetAtByte: 300_000 }, 2],
    ['reset right after the head', { resetAtByte: 0 }, 2],
    ['ended early and cleanly', { endAtByte: 555_555 }, 2],
    ['no connection at all', { dropConnection: true }, 2],
    ['a 500 at first', { status: 500 }, 1],
    ['chunked', { framing: 'chunked' }, 1000],
    ['ended by closing', { framing: 'close' }, 1000],
    ['200 for a range', { ignoreRange: true }, 1000],
  ];
  for (const [name, action, times] of breaks) {
    it(name, async (t) => {
      for (const [what, headers, start, end] of READS) {
        await t.test(what, async (inner) => {
          const { origin, get } = await lab(inner);
          const fault = origin.fault({ match: { endpoint: 'blob', method: 'GET', times }, action });
          assertRight(what, await get(headers), start, end);
          assert.ok(fault.hits > 0, 'the fault met nothing');
          origin.clearFaults();
          assertRight('the whole, afterwards', await get());
        });
      }
    });
  }

  it('8.22 a body that broke off is resumed at the right offset: nothing is read twice', async (t) => {
    const { origin, get, blob } = await lab(t);
    // Paced, so that the kernel has handed on what was sent when the reset comes.
    origin.bytesPerSecond = 16 * MIB;
    origin.fault({ match: { endpoint: 'blob', method: 'GET', times: 3 }, action: { resetAtByte: 700_000 } });
    assertRight('whole', await get());
    const sent = origin.bytesSent();
    assert.ok(sent <= blob.size * 1.25, `${sent} of ${blob.size} bytes`);
  });
});

describe('origins that lie', () => {
  const lies: readonly (readonly [string, FaultAction])[] = [
    ['a length that is too long', { contentLengthDelta: 1000 }],
    ['a length that is too short', { contentLengthDelta: -1000 }],
    ['another part than it was asked for', { serveSpan: { start: 5, end: 1000 } }],
    [
      'a range of another size',
      { contentRange: ({ start, end }) => `bytes ${start}-${end - 1}/${SIZE + 5}` },
    ],
    ['a range that is no range', { contentRange: 'bytes */7' }],
    ['a body that always breaks', { endAtByte: 10 }],
  ];
  for (const [name, action] of lies) {
    it(`${name}: nothing wrong gets out, and the next read is right`, async (t) => {
      for (const [what, headers, start, end] of READS) {
        await t.test(what, async (inner) => {
          const { origin, get } = await lab(inner);
          origin.fault({ match: { endpoint: 'blob', method: 'GET' }, action });
          const answer = await get(headers);
          // What can be mended may be right.
          if (answer.complete && answer.status < 300) assertRight(what, answer, start, end);
          else assertFailedWell(what, answer, start, end);
          origin.clearFaults();
          assertRight(`${what}, afterwards`, await mended(() => get(headers)), start, end);
          assertRight('the whole, afterwards', await mended(() => get()));
        });
      }
    });
  }

  it('wrong bytes: a whole read is reset before its last piece, nothing stays, and the next read is right', async (t) => {
    const { origin, node, get } = await lab(t);
    origin.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 2 * MIB + 17 } });
    const answer = await get();
    assert.equal(answer.status, 200);
    assert.equal(answer.complete, false);
    assert.equal(answer.failure, 'ECONNRESET');
    assert.ok(answer.bytes <= 6 * MIB, `${answer.bytes} bytes: the last piece got out`);
    origin.clearFaults();
    assertRight('next', await get());
    origin.reset();
    assertRight('warm', await get());
    assert.deepEqual(origin.requests, []);
    const metrics = await httpGet(`http://${node.addresses.metrics[0]}/metrics`);
    assert.match(metrics.body.toString(), /^damselfly_\w*mismatch\w* 1/m);
  });

  it('wrong bytes that a lazy reader took: the whole blob, once complete, is found out and read anew', async (t) => {
    const { origin, get } = await lab(t);
    const fault = origin.fault({ match: { endpoint: 'blob' }, action: { flipAtOffset: 2 * MIB + 17 } });
    assert.equal((await get({ Range: `bytes=${2 * MIB}-${3 * MIB - 1}` })).status, 206);
    fault.remove();
    const whole = await get();
    assert.equal(whole.complete, false, 'the wrong piece is in the cache, so the digest cannot match');
    assertRight('next', await get());
  });
});

describe('redirects', () => {
  const LOGIN = { Authorization: `Basic ${Buffer.from('alice:secret').toString('base64')}` };
  const auth = { auth: 'basic', users: { alice: 'secret' } } as const;

  for (const status of [301, 302, 303, 307, 308] as const) {
    for (const location of ['absolute', 'relative'] as const) {
      it(`8.13 ${status}, ${location}: followed inside, and only the registry gets the credential`, async (t) => {
        const { origin, get } = await lab(t, { ...auth, redirect: { status, location } });
        for (const [what, headers, start, end] of READS) {
          const answer = await get({ ...headers, ...LOGIN });
          assert.equal(answer.header('location'), undefined, what);
          assertRight(what, answer, start, end);
        }
        if (location === 'absolute') {
          const sent = origin.find({ endpoint: 'cdn' });
          assert.ok(sent.length > 0);
          for (const { authorization } of sent) assert.equal(authorization, 'none');
        }
      });
    }
  }

  it('8.13 a signed URL is used again, and asked for anew once it has expired', async (t) => {
    const { origin, get } = await lab(t, { redirect: { status: 307 } });
    const piece = (i: number): Record<string, string> => ({ Range: `bytes=${i * MIB}-${i * MIB + 9}` });
    for (const i of [0, 2, 4]) assert.equal((await get(piece(i))).status, 206);
    const asked = origin.find({ endpoint: 'blob', method: 'GET' }).length;
    assert.equal(asked, 1, 'the registry was asked again for a URL that was still good');
    origin.redirects.expireAll();
    const answer = await get(piece(3));
    assert.equal(answer.status, 206);
    assert.ok(answer.body.equals(seededBytes('broken', { start: 3 * MIB, end: 3 * MIB + 10 })));
    assert.equal(origin.find({ endpoint: 'blob', method: 'GET' }).length, 2);
  });

  it('a signed URL that expires in mid-blob does not end the read', async (t) => {
    const { origin, get } = await lab(t, { redirect: { status: 307, maxUses: 1, refusal: 401 } });
    origin.fault({ match: { endpoint: 'cdn', times: 2 }, action: { resetAtByte: 400_000 } });
    assertRight('whole', await get());
  });

  it('8.13 a loop is a 502 or 503, not a hang and not a redirect', async (t) => {
    const { get } = await lab(t, { redirect: { status: 302, location: 'loop' } });
    for (const headers of [{}, { Range: 'bytes=0-9' }] as Record<string, string>[]) {
      const answer = await get(headers);
      assert.ok([502, 503].includes(answer.status), String(answer.status));
      assert.equal(answer.header('location'), undefined);
      assert.ok(answer.headMs < 4_000);
    }
  });
});
