import assert from 'node:assert/strict';
import test from 'node:test';
import { isAlive, namespaceName, ownerOf, self } from './names.ts';

test('a namespace tells whose it is', () => {
  const owner = { pid: 4711, startTicks: '998877' };
  assert.deepEqual(ownerOf(namespaceName(owner, 3, 'node-12')), owner);
});

test('namespaces of others are nobody of ours', () => {
  for (const name of [
    'dmfly',
    'dmfly-1',
    'dmfly-1-2-3',
    'cni-4711-998877-1-hub',
    'xdmfly-1-2-3-hub',
    'dmfly-a-2-3-hub',
  ])
    assert.equal(ownerOf(name), undefined, name);
});

test('this process lives; one that had its id before, or none, does not', {
  skip: process.platform !== 'linux',
}, () => {
  const owner = self();
  assert.ok(isAlive(owner));
  assert.ok(!isAlive({ ...owner, startTicks: `${owner.startTicks}0` }));
  assert.ok(!isAlive({ ...owner, pid: 2 ** 30 }));
});
