import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { boundedDisk, diskThreads } from '../../src/store/bounded-disk.ts';
import { FaultyDisk } from './faulty-disk.ts';

test('a share of the thread pool stays free, whatever its size', () => {
  assert.equal(diskThreads('16'), 12);
  assert.equal(diskThreads('4'), 3);
  assert.equal(diskThreads(undefined), 3);
  assert.equal(diskThreads('2'), 1);
  assert.equal(diskThreads('1'), 1);
  assert.equal(diskThreads('128'), 96);
  for (const nonsense of ['', '0', '-3', 'many', '1.5']) assert.equal(diskThreads(nonsense), 3, nonsense);
});

test('a stopped disk holds so many calls and no more; they go on in order once it works', async () => {
  const disk = new FaultyDisk();
  const bounded = boundedDisk(disk, 3);
  disk.stop('unlink', 'freeSpace');
  const done: number[] = [];
  const calls = Array.from({ length: 10 }, async (_, n) => {
    await (n % 2 === 0 ? bounded.freeSpace('/') : bounded.unlink('/nonexistent/file').catch(() => undefined));
    done.push(n);
  });
  await turn();
  assert.equal(disk.count('unlink') + disk.count('freeSpace'), 3);
  assert.deepEqual(done, []);
  disk.heal();
  await Promise.all(calls);
  assert.deepEqual(
    done.toSorted((x, y) => x - y),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
});

test('an error of a call gives its place back', async () => {
  const disk = new FaultyDisk();
  const bounded = boundedDisk(disk, 1);
  disk.fail('freeSpace', 'EIO', 3);
  for (let n = 0; n < 3; n += 1) await assert.rejects(bounded.freeSpace('/'), { code: 'EIO' });
  assert.ok((await bounded.freeSpace('/')).blockBytes > 0);
});
