import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BlobLine, BlobsDocument } from '../../src/admin/cache-events.ts';
import { PIECE_BYTES } from '../../src/blob/piece.ts';
import { eventually } from '../support/eventually.ts';
import { httpGet } from '../support/http-get.ts';
import { seededBytes } from '../support/origin.ts';
import { setup } from './support/setup.ts';

const SIZE = 40 * PIECE_BYTES + 123;

function bytesOf(seed: string, size: number): Buffer {
  return seededBytes(seed, { start: 0, end: size });
}

async function listed(address: string | undefined): Promise<readonly BlobLine[]> {
  const answer = await httpGet(`http://${address}/api/v1/blobs`);
  return (JSON.parse(answer.body.toString('utf8')) as BlobsDocument).blobs;
}

async function admin(address: string | undefined, path: string, body: object) {
  const answer = await httpGet(`http://${address}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const lines = answer.body.toString('utf8').split('\n');
  return {
    status: answer.status,
    events: lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

test('a blob removed in the middle of a slow read reaches its reader whole, is gone afterwards, and is read anew', async (t) => {
  const { origin, node, dir } = await setup(t);
  const blob = origin.repository('team/app').addBlob({ size: SIZE, seed: 'slow reader' });
  const path = `/v2/team/app/blobs/${blob.digest}`;
  const sent = request({ host: node.host, port: node.port, path, agent: false }).end();
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  const [first] = (await once(answer, 'data')) as [Buffer];
  chunks.push(first);
  answer.pause();
  const [address] = node.addresses.admin;
  const removed = await admin(address, '/api/v1/cache/rm', { digests: [blob.digest] });
  assert.deepEqual(
    removed.events.map(({ event, inUse }) => [event, inUse]),
    [
      ['removed', true],
      ['done', 1],
    ],
  );
  answer.on('data', (chunk: Buffer) => chunks.push(chunk));
  answer.resume();
  await once(answer, 'end');
  assert.ok(Buffer.concat(chunks).equals(bytesOf('slow reader', SIZE)), 'every byte');
  await eventually(() => readdirSync(join(dir, 'segments')).length === 0);
  assert.deepEqual(await listed(address), []);
  const again = await httpGet(`${node.url}${path}`);
  assert.ok(again.body.equals(bytesOf('slow reader', SIZE)));
  await eventually(async () => {
    const [one] = await listed(address);
    return (
      one?.digest === blob.digest &&
      one.proven &&
      one.origins[0] === origin.url &&
      one.repositories[0] === `${origin.host}/team/app`
    );
  });
});

test('what verify drops is read from the origin again, and nothing else is', async (t) => {
  const { origin, node, dir } = await setup(t);
  const blob = origin.repository('team/app').addBlob({ size: 5 * PIECE_BYTES, seed: 'verified' });
  const url = `${node.url}/v2/team/app/blobs/${blob.digest}`;
  await httpGet(url);
  const [address] = node.addresses.admin;
  // Its last piece may still be on the way to the disk.
  await eventually(async () => (await listed(address))[0]?.proven === true);
  const [name = ''] = readdirSync(join(dir, 'segments'));
  const file = join(dir, 'segments', name);
  const bytes = readFileSync(file);
  bytes[3 * PIECE_BYTES] = (bytes[3 * PIECE_BYTES] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  const { events } = await admin(address, '/api/v1/cache/verify', {});
  const bad = events.filter(({ event }) => event === 'bad');
  assert.deepEqual(bad, [
    { event: 'bad', digest: blob.digest, reason: 'damaged', pieces: [{ first: 3, end: 4 }] },
  ]);
  const before = origin.requests.length;
  const again = await httpGet(url);
  assert.ok(again.body.equals(bytesOf('verified', 5 * PIECE_BYTES)));
  const ranges = origin.requests.slice(before).map(({ range }) => range);
  assert.deepEqual(
    ranges.filter((range) => range !== undefined),
    [`bytes=${3 * PIECE_BYTES}-${4 * PIECE_BYTES - 1}`],
  );
});
