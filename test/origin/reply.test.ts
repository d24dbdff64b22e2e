import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { discard, emptyBody, ReplyBody, readBody, readBodyStart, streamOf } from '../../src/origin/reply.ts';

/** A body that the test feeds, with the state of its (pretended) socket. */
function fed(highWaterBytes = 100) {
  const socket = { paused: false, aborted: undefined as Error | undefined, resumes: 0 };
  let received = 0;
  let closed = 0;
  const body = new ReplyBody(
    highWaterBytes,
    (bytes) => {
      received += bytes;
    },
    () => {
      closed++;
    },
  );
  body.attach({
    get paused() {
      return socket.paused;
    },
    get aborted() {
      return socket.aborted !== undefined;
    },
    reason: null,
    pause: () => {
      socket.paused = true;
    },
    resume: () => {
      socket.paused = false;
      socket.resumes++;
    },
    abort: (reason) => {
      socket.aborted = reason;
    },
  });
  return { body, socket, counts: () => ({ received, closed }) };
}

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(7);

test('the socket is paused at the high water mark and resumed below half of it', () => {
  const { body, socket } = fed(100);
  body.push(bytes(60));
  assert.equal(socket.paused, false);
  body.push(bytes(60));
  assert.equal(socket.paused, true);
  body.read();
  assert.equal(socket.paused, true);
  body.read();
  assert.equal(socket.paused, false);
  assert.equal(body.read(), undefined);
});

test('what came before a failure is read before it', () => {
  const { body, counts } = fed();
  body.push(bytes(3));
  body.fail(new Error('lost'));
  body.push(bytes(3));
  assert.equal(body.read()?.length, 3);
  assert.throws(() => body.read(), /lost/);
  assert.throws(() => body.read(), /lost/);
  assert.deepEqual(counts(), { received: 3, closed: 1 });
});

test('waiting ends with a chunk, the end or a failure', async () => {
  const { body } = fed();
  const waiting = body.wait(60_000);
  body.push(bytes(1));
  await waiting;
  assert.equal(body.read()?.length, 1);
  const end = body.wait(60_000);
  body.end();
  await end;
  assert.equal(body.read(), null);
  await body.wait(60_000);
});

test('a stall fails the body as a timeout and drops its connection', async () => {
  const { body, socket, counts } = fed();
  await body.wait(5);
  assert.throws(
    () => body.read(),
    (error) => hasCode(error, 'origin-timeout'),
  );
  assert.ok(socket.aborted);
  assert.equal(counts().closed, 1);
});

test('a stream of a stalled body is destroyed with its error', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { body } = fed();
  const stream = streamOf(body);
  const failed = new Promise((resolve) => stream.once('error', resolve));
  stream.resume();
  body.push(bytes(10));
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(4_000);
  assert.ok(hasCode(await failed, 'origin-timeout'));
});

test('destroying an ended body keeps its connection, an open one loses it', () => {
  const ended = fed();
  ended.body.end();
  ended.body.destroy(new Error('x'));
  assert.equal(ended.socket.aborted, undefined);
  const open = fed();
  open.body.destroy(new Error('x'));
  open.body.destroy(new Error('y'));
  assert.equal(open.socket.aborted?.message, 'x');
  assert.equal(open.counts().closed, 1);
});

test('small bodies are read whole, longer ones are null and dropped', async () => {
  const small = fed();
  small.body.push(bytes(3));
  small.body.push(bytes(4));
  small.body.end();
  assert.equal((await readBody(small.body, 7))?.length, 7);
  const long = fed();
  long.body.push(bytes(8));
  assert.equal(await readBody(long.body, 7), null);
  assert.ok(long.socket.aborted);
  assert.equal((await readBody(emptyBody(), 1))?.length, 0);
});

test('the start of a broken or endless error document is what there is of it', async () => {
  const broken = fed();
  broken.body.push(bytes(3));
  broken.body.fail(new Error('lost'));
  assert.equal((await readBodyStart(broken.body, 10)).length, 3);
  const endless = fed();
  endless.body.push(bytes(30));
  assert.equal((await readBodyStart(endless.body, 10)).length, 10);
  assert.ok(endless.socket.aborted);
});

test('an unwanted short body is let through to its end, a long one is not', async () => {
  const short = fed();
  discard(short.body);
  short.body.push(bytes(100));
  short.body.end();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(short.socket.aborted, undefined);
  const long = fed(1 << 20);
  discard(long.body);
  for (let i = 0; i < 3; i++) long.body.push(bytes(10_000));
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(long.socket.aborted);
});

test('an unwanted body that drips is dropped in time', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { body, socket } = fed();
  discard(body);
  for (let seconds = 0; seconds < 3; seconds++) {
    body.push(bytes(1));
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(1_000);
  }
  assert.ok(socket.aborted);
});
