import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { digestHex } from '../../../src/blob/digest.ts';
import { seededBytes, startOrigin } from '../../support/origin.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { startNode } from '../support/node.ts';
import { NydusdHttpProxy } from './nydusd-http-proxy.ts';
import { REPOSITORY } from './support/lab.ts';
import type { Place } from './support/wire.ts';

const MIB = 1 << 20;

describe("nydusd's http-proxy backend", () => {
  it('8.29 a listener that is one blob: HEAD tells the size whatever its range, GET gives ranges; by socket and by address', async (t) => {
    const folder = await tempFolder(t);
    const origin = await startOrigin({ redirect: { status: 307 } });
    t.after(() => origin.close());
    const repository = origin.repository(REPOSITORY);
    const blob = repository.addBlob({ size: 4 * MIB + 9, seed: 'bound' });
    const other = repository.addBlob({ size: MIB, seed: 'other' });
    const socket = folder.file('blob.sock');
    const bound = { blob: `${REPOSITORY}@${blob.digest}`, origin: origin.url };
    const hosts = [origin.host, new URL(origin.cdnUrl).host];
    const node = await startNode(folder.file('cache'), [
      `origins=${JSON.stringify(hosts.map((host) => ({ host, insecure: true })))}`,
      `proxy.listeners=${JSON.stringify([{ listen: [`unix:${socket}`, '127.0.0.1:0'], ...bound }])}`,
    ]);
    t.after(() => node.stop());
    const tcp = node.addresses.proxy.find(
      (address) => address !== `${node.host}:${node.port}` && !address.startsWith('unix'),
    );
    const port = Number(tcp?.slice(tcp.lastIndexOf(':') + 1));
    const places: readonly (readonly [Place, string])[] = [
      [{ path: socket }, ''],
      [{ host: '127.0.0.1', port }, '/nydus'],
    ];
    for (const [place, path] of places) {
      using client = new NydusdHttpProxy(place, path);
      const hex = digestHex(blob.digest);
      for (const round of ['cold', 'warm']) {
        assert.equal(await client.size(hex), blob.size, round);
        for (const [start, end] of [
          [blob.size - 500, blob.size],
          [0, 4096],
          [MIB - 3, 2 * MIB + 3],
        ] as const) {
          const bytes = await client.read(hex, start, end);
          assert.ok(bytes.equals(seededBytes('bound', { start, end })), `${round} ${start}`);
        }
      }
    }
    using client = new NydusdHttpProxy({ host: '127.0.0.1', port }, '/nydus');
    assert.equal(await client.size(digestHex(other.digest)), other.size, 'another blob of the repository');
  });
});
