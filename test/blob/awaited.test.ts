import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Awaited } from '../../src/blob/awaited.ts';

describe('Awaited', () => {
  it('begins once, and tells those who listen then', () => {
    const awaited = new Awaited();
    const told: string[] = [];
    awaited.onBegin(() => told.push('one'));
    const forget = awaited.onBegin(() => told.push('other'));
    forget();
    assert.equal(awaited.isSo, false);
    awaited.begin();
    awaited.begin();
    assert.equal(awaited.isSo, true);
    assert.deepEqual(told, ['one']);
  });
});
