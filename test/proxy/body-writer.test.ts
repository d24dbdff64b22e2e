import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer as createTlsServer } from 'node:https';
import { connect } from 'node:net';
import { before, describe, it } from 'node:test';
import type { Chunk } from '../../src/blob/source.ts';
import { type BodyWriter, createBodyWriter } from '../../src/proxy/body-writer.ts';
import { loadSendfile, type Sendfile } from '../../src/proxy/sendfile.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet, keepAlive, rawExchange } from '../support/http-get.ts';
import { selfSigned } from '../support/origin/certificate.ts';
import { Random } from '../support/random.ts';
import { bodyServer, SlicedFile, Source } from './support/bodies.ts';

const KIB = 1 << 10;
const MIB = 1 << 20;

let real: Sendfile | null = null;
before(async () => {
  real = await loadSendfile();
});

/** Cuts [start, end) into chunks of random kinds and sizes. */
function randomSource(file: SlicedFile, start: number, end: number, random: Random): Source {
  const items: (() => Chunk)[] = [];
  for (let at = start; at < end; ) {
    const size = random.pick([1, 700, 16 * KIB, 16 * KIB + 1, 100 * KIB, MIB, 3 * MIB]);
    const [from, to] = [at, Math.min(at + size, end)];
    const asSlice = random.next() < 0.6;
    items.push(() => (asSlice ? file.slice(from, to) : file.part(from, to)));
    at = to;
  }
  return new Source(items);
}

/** sendfile as a busy kernel would have it: interrupted, full, and short, at random. */
function moody(random: Random): Sendfile {
  return (socketFd, fileFd, offset, count) => {
    assert.ok(real !== null);
    const mood = random.next();
    if (mood < 0.2) return -4;
    if (mood < 0.4) return -11;
    if (mood < 0.5) return -22;
    return real(socketFd, fileFd, offset, mood < 0.7 ? Math.ceil(count / 3) : count);
  };
}

const writers: [name: string, make: () => BodyWriter][] = [
  ['sendfile', () => createBodyWriter(real)],
  ['copying', () => createBodyWriter(null)],
  ['sendfile in every mood', () => createBodyWriter(moody(new Random('moods')))],
];

for (const [name, make] of writers) {
  describe(`bodies by ${name}`, () => {
    it('are equal to their file, one after the other on one connection', async (t) => {
      const file = await SlicedFile.make(t, 9 * MIB);
      const random = new Random(`sequence ${name}`);
      const spans = Array.from({ length: 60 }, () => {
        const start = random.integer(0, file.bytes.length);
        const length = random.pick([0, 1, 4 * KIB, 16 * KIB, 64 * KIB, MIB, 5 * MIB]);
        return { start, end: Math.min(start + length, file.bytes.length) };
      });
      const server = await bodyServer(t, make(), (path) => {
        const span = spans[Number(path.slice(1))];
        assert.ok(span !== undefined);
        return {
          source: randomSource(file, span.start, span.end, random),
          length: span.end - span.start,
        };
      });
      let connections = 0;
      server.server.on('connection', () => (connections += 1));
      const agents = keepAlive({ maxSockets: 1 });
      t.after(agents.destroy);
      for (const [index, { start, end }] of spans.entries()) {
        const answer = await httpGet(`${server.url}/${index}`, { agent: agents.http });
        assert.equal(answer.complete, true);
        assert.ok(answer.body.equals(file.part(start, end)), `body ${index}`);
      }
      assert.equal(connections, 1);
      await eventually(() => server.results.length === spans.length);
      assert.ok(server.results.every(({ outcome, error }) => outcome === 'sent' && error === undefined));
      assert.deepEqual(
        server.results.map(({ bytes }) => bytes),
        spans.map(({ start, end }) => end - start),
      );
      await eventually(() => file.lent === 0);
    });

    it('come in order on a connection with pipelined requests', async (t) => {
      const file = await SlicedFile.make(t, 4 * MIB);
      const random = new Random(`pipeline ${name}`);
      const lengths = [3 * MIB, 10, 0, 200 * KIB, 2 * MIB, 64 * KIB, 1, MIB];
      const server = await bodyServer(t, make(), (path) => {
        const length = Number(path.slice(1));
        return { source: randomSource(file, 0, length, random), length };
      });
      const requests = lengths.map((length, index) => {
        const last = index === lengths.length - 1 ? 'Connection: close\r\n' : '';
        return `GET /${length} HTTP/1.1\r\nHost: x\r\n${last}\r\n`;
      });
      let rest = await rawExchange(server.host, requests.join(''));
      for (const length of lengths) {
        const headEnd = rest.indexOf('\r\n\r\n') + 4;
        assert.match(rest.subarray(0, headEnd).toString(), new RegExp(`Content-Length: ${length}\r\n`));
        assert.ok(rest.subarray(headEnd, headEnd + length).equals(file.part(0, length)), `body of ${length}`);
        rest = rest.subarray(headEnd + length);
      }
      assert.equal(rest.length, 0);
      await eventually(() => file.lent === 0);
    });

    it('of hundreds of MiB arrive whole at a client that reads in fits', async (t) => {
      const file = await SlicedFile.make(t, 8 * MIB);
      const rounds = 24;
      const items = Array.from({ length: rounds }, (_, round) => [
        () => file.slice(0, 4 * MIB),
        () => (round % 2 === 0 ? file.part(4 * MIB, 8 * MIB) : file.slice(4 * MIB, 8 * MIB)),
      ]).flat();
      const length = rounds * file.bytes.length;
      const server = await bodyServer(t, make(), () => ({ source: new Source(items), length }));
      const expected = createHash('sha256');
      for (let round = 0; round < rounds; round += 1) expected.update(file.bytes);
      const found = createHash('sha256');
      let reads = 0;
      const answer = await httpGet(server.url, {
        onChunk: (chunk) => found.update(chunk),
        onHead: (response) =>
          response.on('data', () => {
            reads += 1;
            if (reads % 100 !== 0) return;
            response.pause();
            setTimeout(() => response.resume(), 2);
          }),
      });
      assert.equal(answer.bytes, length);
      assert.equal(found.digest('hex'), expected.digest('hex'));
      await eventually(() => file.lent === 0);
    });

    it('wait in the source, not in memory, for a client that does not read', async (t) => {
      const file = await SlicedFile.make(t, MIB);
      const items = Array.from(
        { length: 256 },
        (_, i) => () => (i % 2 === 0 ? file.slice(0, MIB) : file.bytes),
      );
      const source = new Source(items);
      const server = await bodyServer(t, make(), () => ({
        source,
        length: 256 * MIB,
        clientIdleTimeoutMs: 100,
      }));
      const ended = server.ended();
      const socket = connect(server.port, '127.0.0.1');
      t.after(() => socket.destroy());
      socket.on('error', () => undefined);
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      socket.pause();
      const { outcome, bytes } = await ended;
      assert.equal(outcome, 'client-gone');
      // What the kernel holds for both ends of a loopback connection is some MiB.
      assert.ok(bytes < 32 * MIB && source.taken < 40, `${source.taken} chunks taken`);
      assert.equal(source.returned, 1);
      await eventually(() => file.lent === 0);
    });
  });
}

describe('sendfile', () => {
  it('carries what is long, once the head is out, and nothing below 16 KiB', {
    skip: process.platform !== 'linux',
  }, async (t) => {
    const file = await SlicedFile.make(t, 2 * MIB);
    const calls: number[] = [];
    const counting: Sendfile = (socketFd, fileFd, offset, count) => {
      assert.ok(real !== null);
      const sent = real(socketFd, fileFd, offset, count);
      calls.push(sent);
      return sent;
    };
    const server = await bodyServer(t, createBodyWriter(counting), (path) => ({
      source: new Source([() => file.slice(0, Number(path.slice(1)))]),
      length: Number(path.slice(1)),
    }));
    await httpGet(`${server.url}/${16 * KIB}`);
    assert.deepEqual(calls, []);
    await httpGet(`${server.url}/${100 * KIB}`);
    assert.deepEqual(calls, [100 * KIB]);
    await httpGet(`${server.url}/${2 * MIB}`);
    const sent = calls.slice(1).filter((count) => count > 0);
    assert.ok(sent.reduce((sum, count) => sum + count, 0) > MIB);
  });

  it('is never used under TLS', async (t) => {
    const file = await SlicedFile.make(t, 2 * MIB);
    const { key, cert } = await selfSigned();
    const forbidden: Sendfile = () => assert.fail('sendfile would send plain text');
    const server = await bodyServer(
      t,
      createBodyWriter(forbidden),
      () => ({ source: new Source([() => file.slice(0, 2 * MIB)]), length: 2 * MIB }),
      createTlsServer({ key, cert }),
    );
    const answer = await httpGet(`https://${server.host}`, { ca: cert });
    assert.ok(answer.body.equals(file.bytes));
  });

  it('works on a unix socket', async (t) => {
    const file = await SlicedFile.make(t, 2 * MIB);
    const server = await bodyServer(t, createBodyWriter(real), () => ({
      source: new Source([() => file.slice(0, 2 * MIB)]),
      length: 2 * MIB,
    }));
    const path = `/tmp/damselfly-test-${process.pid}-${server.port}.sock`;
    await new Promise<void>((resolve) => server.server.close(() => resolve()));
    await new Promise<void>((resolve) => server.server.listen(path, resolve));
    t.after(() => server.server.close());
    const answer = await httpGet('http://localhost/', { socketPath: path });
    assert.ok(answer.body.equals(file.bytes));
  });
});

it('keeps the loop free: a timer comes in between while memory is sent as fast as it can be read', async (t) => {
  const bytes = Buffer.alloc(MIB);
  const items = Array.from({ length: 200 }, () => () => bytes);
  let turns = 0;
  const server = await bodyServer(t, createBodyWriter(null), () => ({
    source: new Source(items),
    length: 200 * MIB,
  }));
  const count = () => {
    turns += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  t.after(() => clearImmediate(counting));
  const answer = await httpGet(server.url, { onChunk: () => undefined });
  assert.equal(answer.bytes, 200 * MIB);
  assert.ok(turns >= 199, `${turns} turns`);
});
