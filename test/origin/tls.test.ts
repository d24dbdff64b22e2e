import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { hasCode } from '../../src/errors.ts';
import { selfSigned, startOrigin } from '../support/origin.ts';
import { entry, REPOSITORY, rig } from './support.ts';

const START = { start: 0, end: 4 };

test("an origin's own authority is trusted for it, and nobody is trusted without one", async () => {
  const certificate = await selfSigned();
  await using origin = await startOrigin({ tls: certificate });
  const { digest } = origin.repository(REPOSITORY).addBlob({ size: 1_000, seed: 1 });
  {
    await using parts = rig(origin, { listing: { origins: [entry(origin.host, { ca: certificate.cert })] } });
    for (let i = 0; i < 3; i++) {
      assert.equal((await parts.read(digest, START)).length, 4);
      // The library hands a connection on after a turn of the loop.
      await setImmediate();
    }
    assert.equal(new Set(origin.requests.map(({ connectionId }) => connectionId)).size, 1, 'kept alive');
  }
  await using stranger = rig(origin, { retry: { attempts: 1 }, listing: { origins: [entry(origin.host)] } });
  await assert.rejects(stranger.open(digest, START), (error) => hasCode(error, 'origin-unreachable'));
});

test('a wrong name and an expired certificate are refused though their authority is trusted', async () => {
  for (const certificate of [
    await selfSigned(['else.example']),
    await selfSigned(undefined, { fromDays: -3, toDays: -1 }),
  ]) {
    await using origin = await startOrigin({ tls: certificate });
    await using parts = rig(origin, {
      retry: { attempts: 1 },
      listing: { origins: [entry(origin.host, { ca: certificate.cert })] },
    });
    const { digest } = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
    await assert.rejects(
      parts.open(digest, START),
      (error) => hasCode(error, 'origin-unreachable') && error.status === 502,
    );
  }
});

test('https is never tried in plain, and plain is never tried where policy does not say so', async () => {
  await using origin = await startOrigin();
  const { digest } = origin.repository(REPOSITORY).addBlob({ size: 10, seed: 1 });
  await using parts = rig(origin, { retry: { attempts: 1 }, listing: { origins: [entry(origin.host)] } });
  const upstream = { ...parts.upstream, origin: parts.directory.resolve(origin.url) };
  assert.match(upstream.origin, /^https:/);
  await assert.rejects(parts.open(digest, START, { upstream }), (error) =>
    hasCode(error, 'origin-unreachable'),
  );
  assert.equal(origin.requests.length, 0);
});
