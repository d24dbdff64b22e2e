import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode } from '../../src/errors.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { CRASH_MAX_BYTES, crashBlobs } from './crash-child.ts';
import { allocatedIn, goodPieces, metricValue, segmentFiles, storeIn } from './support.ts';

const childPath = new URL('./crash-child.ts', import.meta.url).pathname;

interface Child {
  readonly process: ChildProcess;
  /** Resolves when so many pieces were stored since the start. */
  stored(count: number): Promise<void>;
  kill(): Promise<void>;
}

async function startChild(dir: string, seed: number): Promise<Child> {
  const child = spawn(process.execPath, [childPath, dir, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  let heard = (): void => undefined;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    heard();
  });
  child.once('exit', () => heard());
  const said = async (enough: () => boolean): Promise<void> => {
    while (!enough()) {
      if (child.exitCode !== null) throw new Error(`the child ended with ${child.exitCode}`);
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  };
  await said(() => output.startsWith('ready\n'));
  return {
    process: child,
    stored: (count) => said(() => output.length - 'ready\n'.length >= count),
    kill: async () => {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

test('after kill -9 at any moment every piece that is served is right', async (t) => {
  const { path } = await tempFolder(t);
  let keptInAll = 0;
  for (let round = 0; round < 5; round += 1) {
    const child = await startChild(path, round);
    try {
      await child.stored(30 + round * 37);
    } finally {
      await child.kill();
    }
    const store = await storeIn(path, { maxBytes: CRASH_MAX_BYTES });
    try {
      let kept = 0;
      for (const blob of crashBlobs()) kept += (await goodPieces(store.disk, blob)).length;
      assert.equal(store.usage().degraded, null);
      assert.equal(store.usage().pieces, kept);
      assert.ok(allocatedIn(path) <= CRASH_MAX_BYTES);
      // The page cache outlives the process: nothing that the index knows may turn out to be damaged.
      assert.equal(await metricValue(store.metrics, 'damselfly_store_corrupt_pieces_total'), 0);
      keptInAll += kept;
    } finally {
      await store.close();
    }
  }
  assert.ok(keptInAll > 0, 'nothing was ever kept');
});

test('files that the index does not know are removed at start', async (t) => {
  const { path } = await tempFolder(t);
  const child = await startChild(path, 99);
  try {
    await child.stored(5);
  } finally {
    await child.kill();
  }
  const store = await storeIn(path, { maxBytes: CRASH_MAX_BYTES });
  const known = new Set<string>();
  for (const blob of crashBlobs()) {
    for (const piece of await goodPieces(store.disk, blob))
      known.add(`${blob.digest.slice(7)}.${Math.floor(piece / 16)}`);
  }
  await store.close();
  assert.equal(segmentFiles(path).length, known.size);
});

test('a directory in use is refused, and taken over as soon as its holder is killed', async (t) => {
  const { path } = await tempFolder(t);
  const child = await startChild(path, 7);
  try {
    await assert.rejects(
      storeIn(path, { tuning: { lockWaitMs: 50 } }),
      (error) => hasCode(error, 'cache-unusable') && error.message.includes(path),
    );
    // Refusing has not disturbed the holder.
    await child.stored(3);
  } finally {
    await child.kill();
  }
  const store = await storeIn(path, { tuning: { lockWaitMs: 50 } });
  await store.close();
});

test('a successor waits for a holder that is just stopping', async (t) => {
  const { path } = await tempFolder(t);
  const first = await storeIn(path);
  const opening = storeIn(path, { tuning: { lockWaitMs: 10_000 } });
  await sleep(100);
  await first.close();
  const second = await opening;
  await second.close();
});
