import assert from 'node:assert/strict';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { connect } from 'node:net';
import { before, describe, it } from 'node:test';
import type { Chunk } from '../../src/blob/source.ts';
import { hasCode } from '../../src/errors.ts';
import { createBodyWriter } from '../../src/proxy/body-writer.ts';
import { onClientGone } from '../../src/proxy/client-gone.ts';
import { loadSendfile, type Sendfile } from '../../src/proxy/sendfile.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet, keepAlive } from '../support/http-get.ts';
import { type BodyServer, bodyServer, SlicedFile, Source } from './support/bodies.ts';

const KIB = 1 << 10;
const MIB = 1 << 20;

let real: Sendfile | null = null;
before(async () => {
  real = await loadSendfile();
});

/** What a client sees when a body ends early: never a clean end. */
async function expectReset(server: BodyServer, atMost: number): Promise<void> {
  const answer = await httpGet(server.url);
  assert.equal(answer.status, 200);
  assert.equal(answer.complete, false);
  assert.equal(answer.failure, 'ECONNRESET');
  assert.ok(answer.bytes <= atMost, `${answer.bytes} bytes came`);
  await eventually(() => server.results.length === 1);
}

for (const name of ['sendfile', 'copying']) {
  const writer = () => createBodyWriter(name === 'sendfile' ? real : null);

  describe(`a body by ${name} that cannot be completed is reset`, () => {
    it('when the source throws', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const trouble = new Error('the origin is gone');
      const source = new Source([() => file.slice(0, 100 * KIB), () => Promise.reject(trouble)]);
      const server = await bodyServer(t, writer(), () => ({ source, length: MIB }));
      await expectReset(server, 100 * KIB);
      assert.deepEqual(server.results, [
        { outcome: 'source-failed', bytes: 100 * KIB, headSent: true, error: trouble },
      ]);
      await eventually(() => file.lent === 0);
    });

    it('when the source ends early', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const source = new Source([() => file.slice(0, 100 * KIB)]);
      const server = await bodyServer(t, writer(), () => ({ source, length: MIB }));
      await expectReset(server, 100 * KIB);
      assert.equal(server.results[0]?.outcome, 'source-failed');
      await eventually(() => file.lent === 0);
    });

    it('when the source gives more than was announced: not one byte of that is sent', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const source = new Source([() => file.slice(0, 100 * KIB), () => file.slice(0, 2)]);
      const server = await bodyServer(t, writer(), () => ({ source, length: 100 * KIB + 1 }));
      await expectReset(server, 100 * KIB);
      assert.equal(server.results[0]?.outcome, 'source-failed');
      assert.equal(source.returned, 1);
      await eventually(() => file.lent === 0);
    });

    it('when the file is shorter than its slice', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const source = new Source([() => file.slice(MIB - 100 * KIB, MIB + 100 * KIB)]);
      const server = await bodyServer(t, writer(), () => ({ source, length: 200 * KIB }));
      await expectReset(server, 100 * KIB);
      assert.equal(server.results[0]?.outcome, 'source-failed');
      assert.ok(hasCode(server.results[0]?.error, 'store-corrupt'));
      await eventually(() => file.lent === 0);
    });

    it('when the source stalls; what it gives later is given back', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const late = Promise.withResolvers<Chunk>();
      const source = new Source([() => file.slice(0, 100 * KIB), () => late.promise]);
      const server = await bodyServer(t, writer(), () => ({ source, length: MIB, stallTimeoutMs: 30 }));
      await expectReset(server, 100 * KIB);
      assert.equal(server.results[0]?.outcome, 'stalled');
      assert.ok(hasCode(server.results[0]?.error, 'deadline'));
      assert.equal(source.returned, 1);
      late.resolve(file.slice(0, 10));
      await eventually(() => file.lent === 0);
    });

    it('when the deadline comes first', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const source = new Source([() => file.slice(0, 100 * KIB), () => new Promise<Chunk>(() => undefined)]);
      const server = await bodyServer(t, writer(), () => ({
        source,
        length: MIB,
        stallTimeoutMs: 60_000,
        deadlineMs: performance.now() + 30,
      }));
      await expectReset(server, 100 * KIB);
      assert.equal(server.results[0]?.outcome, 'stalled');
    });

    it('when the caller ends it', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const controller = new AbortController();
      const reason = new Error('the node stops');
      const source = new Source([
        () => file.slice(0, 100 * KIB),
        () => {
          controller.abort(reason);
          return new Promise<Chunk>(() => undefined);
        },
      ]);
      const server = await bodyServer(t, writer(), () => ({
        source,
        length: MIB,
        signal: controller.signal,
      }));
      await expectReset(server, 100 * KIB);
      const [result] = server.results;
      assert.equal(result?.outcome, 'source-failed');
      assert.equal(result?.error, reason);
      assert.equal(source.returned, 1);
    });

    it('when the client closes its half: the end must not look clean', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const source = new Source([() => file.slice(0, 100 * KIB), () => new Promise<Chunk>(() => undefined)]);
      const server = await bodyServer(t, writer(), () => ({ source, length: MIB }));
      const ended = server.ended();
      const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
      t.after(() => socket.destroy());
      const failure = new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve));
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.once('data', () => socket.end());
      socket.resume();
      assert.equal((await ended).outcome, 'client-gone');
      assert.equal((await failure).code, 'ECONNRESET');
    });
  });

  describe(`a client that leaves in the middle of a body by ${name}`, () => {
    it('frees the source at once, also while it is asked for a chunk', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const late = Promise.withResolvers<Chunk>();
      const source = new Source([() => file.slice(0, 100 * KIB), () => late.promise]);
      const server = await bodyServer(t, writer(), () => ({ source, length: MIB }));
      const ended = server.ended();
      await httpGet(server.url, { abortAfterBytes: 1000 });
      const { outcome } = await ended;
      assert.equal(outcome, 'client-gone');
      assert.equal(source.returned, 1);
      late.resolve(file.slice(0, 10));
      await eventually(() => file.lent === 0);
    });

    it('frees it while bytes are being sent', async (t) => {
      const file = await SlicedFile.make(t, 4 * MIB);
      const source = new Source(Array.from({ length: 100 }, () => () => file.slice(0, 4 * MIB)));
      const server = await bodyServer(t, writer(), () => ({ source, length: 400 * MIB }));
      const ended = server.ended();
      await httpGet(server.url, { abortAfterBytes: 5 * MIB, onChunk: () => undefined });
      const { outcome, bytes } = await ended;
      assert.equal(outcome, 'client-gone');
      assert.ok(bytes < 400 * MIB);
      assert.equal(source.returned, 1);
      // A read of the thread pool that was under way still uses the file.
      await eventually(() => file.lent === 0);
    });

    it('does not hurt the next client', async (t) => {
      const file = await SlicedFile.make(t, 4 * MIB);
      const server = await bodyServer(t, writer(), () => ({
        source: new Source([() => file.slice(0, 4 * MIB)]),
        length: 4 * MIB,
      }));
      for (let round = 0; round < 20; round += 1) {
        const [, whole] = await Promise.all([
          httpGet(server.url, { abortAfterBytes: 1 + round * 50_000 }),
          httpGet(server.url),
        ]);
        assert.ok(whole.body.equals(file.bytes));
      }
      await eventually(() => file.lent === 0);
    });
  });
}

describe('before the first chunk', () => {
  it('nothing is sent, so that a failure can still be answered, on the same connection', async (t) => {
    const server = await bodyServer(t, createBodyWriter(real), (path) => ({
      source: new Source([
        path === '/good' ? () => Buffer.from('good') : () => Promise.reject(new Error('no')),
      ]),
      length: 4,
    }));
    const agents = keepAlive({ maxSockets: 1 });
    t.after(agents.destroy);
    let connections = 0;
    server.server.on('connection', () => (connections += 1));
    assert.equal((await httpGet(`${server.url}/bad`, { agent: agents.http })).status, 502);
    assert.equal((await httpGet(`${server.url}/good`, { agent: agents.http })).body.toString(), 'good');
    assert.equal(connections, 1);
    assert.equal(server.results[0]?.headSent, false);
  });

  it('a wait of its own is allowed', async (t) => {
    const server = await bodyServer(t, createBodyWriter(real), () => ({
      source: new Source([() => new Promise<Chunk>(() => undefined)]),
      length: 4,
      firstChunkTimeoutMs: 20,
    }));
    assert.equal((await httpGet(server.url)).status, 502);
    assert.equal(server.results[0]?.outcome, 'stalled');
  });

  it('a head that cannot be written is a failure, and the chunk is given back', async (t) => {
    const file = await SlicedFile.make(t, 10);
    const source = new Source([() => file.slice(0, 10)]);
    const server = await bodyServer(t, createBodyWriter(real), (_, response) => ({
      source,
      length: 10,
      writeHead: () => response.writeHead(200, ['X-Bad', 'a\nb']),
    }));
    assert.equal((await httpGet(server.url)).status, 502);
    await eventually(() => file.lent === 0);
    assert.equal(source.returned, 1);
  });

  it('a source that was given is given back even when the client is gone already', async (t) => {
    const source = new Source([() => Buffer.from('x')]);
    const { promise: open, resolve: opened } = Promise.withResolvers<void>();
    const writeBody = createBodyWriter(real);
    const server = await bodyServer(
      t,
      async (response, parts, options) => {
        opened();
        await new Promise<void>((resolve) => onClientGone(response, resolve));
        return writeBody(response, parts, options);
      },
      () => ({ source, length: 1 }),
    );
    const ended = server.ended();
    const socket = connect(server.port, '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await open;
    socket.destroy();
    assert.deepEqual((({ outcome, bytes, headSent }) => ({ outcome, bytes, headSent }))(await ended), {
      outcome: 'client-gone',
      bytes: 0,
      headSent: false,
    });
    assert.deepEqual([source.taken, source.returned], [0, 1]);
  });
});

it('a slice is not given back while a read of the thread pool still uses its file', async (t) => {
  const file = await SlicedFile.make(t, 4 * MIB);
  const server = await bodyServer(t, createBodyWriter(null), () => ({
    source: new Source([() => file.slice(0, 4 * MIB)]),
    length: 4 * MIB,
  }));
  // The disk hangs from the second read on.
  const held: (() => void)[] = [];
  const { read } = fs;
  let reads = 0;
  t.mock.method(fs, 'read', (...args: unknown[]) => {
    const begin = () => Reflect.apply(read, fs, args);
    reads += 1;
    if (reads === 1) begin();
    else held.push(begin);
  });
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
  const ended = server.ended();
  await httpGet(server.url, { abortAfterBytes: 1000 });
  assert.equal((await ended).outcome, 'client-gone');
  assert.equal(held.length, 1);
  assert.equal(file.lent, 1);
  held[0]?.();
  await eventually(() => file.lent === 0);
});

it('a pipelined request whose client leaves before its turn is told of it', async (t) => {
  const sources = new Map<string, Source>();
  const server = await bodyServer(t, createBodyWriter(real), (path) => {
    const source = new Source([() => new Promise<Chunk>(() => undefined)]);
    sources.set(path, source);
    return { source, length: 10 };
  });
  const socket = connect(server.port, '127.0.0.1');
  socket.write('GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually(() => sources.size === 2);
  assert.equal(sources.get('/2')?.taken, 0, 'nothing is read before it can be sent');
  socket.destroy();
  await eventually(() => server.results.length === 2);
  assert.deepEqual(
    server.results.map(({ outcome }) => outcome),
    ['client-gone', 'client-gone'],
  );
  assert.deepEqual(
    [...sources.values()].map(({ returned }) => returned),
    [1, 1],
  );
});

describe('sendfile that fails', () => {
  const failing = (errno: number) => createBodyWriter(() => -errno);
  const cases: [name: string, errno: number, outcome: string][] = [
    ['EPIPE', 32, 'client-gone'],
    ['ECONNRESET', 104, 'client-gone'],
    ['EIO', 5, 'source-failed'],
    ['EBADF', 9, 'source-failed'],
  ];
  for (const [name, errno, outcome] of cases)
    it(`by ${name} ends in a reset`, async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const source = new Source([() => file.slice(0, MIB)]);
      const server = await bodyServer(t, failing(errno), () => ({ source, length: MIB }));
      await expectReset(server, 0);
      assert.equal(server.results[0]?.outcome, outcome);
      await eventually(() => file.lent === 0);
    });

  it('for want of the file system is replaced by copying', async (t) => {
    const file = await SlicedFile.make(t, MIB);
    for (const errno of [22, 38]) {
      const server = await bodyServer(t, failing(errno), () => ({
        source: new Source([() => file.slice(0, MIB)]),
        length: MIB,
      }));
      assert.ok((await httpGet(server.url)).body.equals(file.bytes));
    }
  });
});
