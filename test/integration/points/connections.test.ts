import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { httpGet } from '../../support/http-get.ts';
import { clientLab, REPOSITORY } from '../clients/support/lab.ts';
import { goRequest } from '../clients/support/requests.ts';
import { Wire } from '../clients/support/wire.ts';

const MIB = 1 << 20;
/** BuildKit keeps an idle connection for so long, reqwest 90 s. */
const LONGEST_IDLE_SECONDS = 120;
const PINGS = ['/', '/v2', '/healthy', '/ping', '/server/ping'];
/** The start of a TLS record with a ClientHello (RFC 8446 §5.1), as podman sends to every mirror first. */
const CLIENT_HELLO = Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(506, 1)]);

describe('connections', () => {
  it('8.5 pings are 200 at once and never touch the origin; GET /v2/ is its own answer', async (t) => {
    const { node, origin } = await clientLab(t, { auth: 'token' });
    origin.fault({ action: { neverAnswer: true } });
    for (const path of PINGS) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await httpGet(node.url + path, { method });
        assert.equal(answer.status, 200, path);
        assert.ok(answer.endMs < 1_000, `${path}: ${answer.endMs} ms`);
      }
    }
    assert.deepEqual(origin.requests, []);
    origin.clearFaults();
    const base = await httpGet(`${node.url}/v2/`);
    const direct = await httpGet(`${origin.url}/v2/`);
    assert.equal(base.status, 401);
    assert.equal(base.header('www-authenticate'), direct.header('www-authenticate'));
  });

  it('8.21 an idle connection outlasts every client, and one that waits holds up no other', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const stuck = origin.repository(REPOSITORY).addBlob({ size: 1000, seed: 'stuck' });
    const hold = origin.fault({ match: { path: stuck.path }, action: { neverAnswer: true } });
    const wires = await Promise.all(Array.from({ length: 64 }, () => Wire.open(node)));
    try {
      const request = (path: string): string =>
        goRequest({
          method: 'GET',
          target: path,
          host: 'node',
          userAgent: 'many',
          fields: { Range: 'bytes=0-9' },
        });
      const [waiting, ...others] = wires;
      waiting?.send(request(stuck.path));
      for (const _ of ['first', 'second']) {
        for (const wire of others) wire.send(request(layers[0].path));
        for (const answer of await Promise.all(others.map((wire) => wire.receive({ method: 'GET' })))) {
          assert.equal(answer.status, 206);
          assert.equal(answer.isReusable, true);
          const timeout = /timeout=(\d+)/.exec(answer.header('keep-alive') ?? '')?.[1];
          assert.ok(Number(timeout) > LONGEST_IDLE_SECONDS, `Keep-Alive: ${answer.header('keep-alive')}`);
        }
      }
    } finally {
      hold.release();
      for (const wire of wires) wire.close();
    }
  });

  it('8.22 a body that cannot be completed ends in a reset: right as far as it went, and no clean end', async (t) => {
    const { node, origin, layers } = await clientLab(t);
    const [, layer] = layers;
    origin.fault({ match: { endpoint: 'blob', times: 1 }, action: { stallAtByte: 300_000 } });
    origin.fault({ match: { endpoint: 'blob' }, action: { neverAnswer: true } });
    const ends = [`bytes=5-${3 * MIB}`, 'bytes=5-'].map(async (Range) => {
      const wire = await Wire.open(node);
      try {
        wire.send(
          goRequest({ method: 'GET', target: layer.path, host: 'node', userAgent: 'a', fields: { Range } }),
        );
        const { status, body, end } = await wire.receive({ method: 'GET' });
        assert.deepEqual([status, end, wire.failure], [206, 'cut', 'ECONNRESET'], Range);
        assert.ok(body.equals(layer.bytes(5, 5 + body.length)), Range);
      } finally {
        wire.close();
      }
    });
    await Promise.all(ends);
  });

  it('8.28 a TLS ClientHello on the plain port ends its connection at once', async (t) => {
    const { node } = await clientLab(t);
    for (const bytes of [CLIENT_HELLO, CLIENT_HELLO.subarray(0, 11)]) {
      const wire = await Wire.open(node);
      const begunMs = performance.now();
      wire.send(bytes);
      const came = await wire.receiveUntilEnd();
      const ms = performance.now() - begunMs;
      assert.ok(ms < 1_000, `${ms} ms for ${bytes.length} bytes`);
      assert.equal(came.length, 0, 'nothing that TLS could make something of');
    }
  });
});
