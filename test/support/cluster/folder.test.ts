import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import test from 'node:test';
import { self } from '../netns/names.ts';
import { tempFolder } from '../temp-folder.ts';
import { clusterFolder } from './folder.ts';

test('folders of processes that have ended go; those of living ones and of others stay', async (t) => {
  const parent = await tempFolder(t);
  const first = await clusterFolder(parent.path);
  const { pid, startTicks } = self();
  const [dead, other] = [`damselfly-cluster-${pid}-${startTicks}9-abcdef`, 'damselfly-cluster-of-mine'];
  for (const name of [dead, other]) await mkdir(parent.file(name));
  await writeFile(parent.file(dead, 'segment'), 'bytes');
  const second = await clusterFolder(parent.path);
  assert.deepEqual((await readdir(parent.path)).sort(), [basename(first), basename(second), other].sort());
});
