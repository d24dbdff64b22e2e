import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { filesNearlyExhausted, openFilesLimit } from '../../src/observe/open-files.ts';

function failing(code: string): () => number {
  return () => {
    throw Object.assign(new Error(code), { code });
  };
}

test('the lowest free descriptor near the limit means exhausted', () => {
  assert.equal(
    filesNearlyExhausted(1024, () => 20),
    false,
  );
  assert.equal(
    filesNearlyExhausted(1024, () => 959),
    false,
  );
  assert.equal(
    filesNearlyExhausted(1024, () => 960),
    true,
  );
});

test('a tiny limit keeps a tenth in reserve, not all of it', () => {
  assert.equal(
    filesNearlyExhausted(50, () => 44),
    false,
  );
  assert.equal(
    filesNearlyExhausted(50, () => 45),
    true,
  );
});

test('an open that fails for want of descriptors means exhausted, any other failure does not', () => {
  assert.equal(filesNearlyExhausted(1024, failing('EMFILE')), true);
  assert.equal(filesNearlyExhausted(undefined, failing('ENFILE')), true);
  assert.equal(filesNearlyExhausted(1024, failing('ENOENT')), false);
});

test('the real probe sees the descriptors of this process', { skip: process.platform !== 'linux' }, () => {
  const limit = openFilesLimit();
  assert.ok(limit !== undefined && limit > 0);
  assert.equal(filesNearlyExhausted(limit), false);
  const held: number[] = [];
  try {
    for (let i = 0; i < 40; i++) held.push(openSync('/dev/null', 'r'));
    // The 40 held ones are below the lowest free one.
    assert.equal(filesNearlyExhausted(40), true);
  } finally {
    for (const fd of held) closeSync(fd);
  }
});
