import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { mock, test } from 'node:test';
import { createProgress } from '../../src/commands/progress.ts';

class Screen extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns = 120;

  constructor(isTTY: boolean) {
    super();
    this.isTTY = isTTY;
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }

  cursorTo(): void {
    this.text += '\r';
  }

  moveCursor(): void {
    // the bar is one line
  }

  clearLine(): void {
    this.text += '\r';
  }
}

test('lines: bytes, share, rate and what is left, every few seconds and also while it stalls', () => {
  mock.timers.enable({ apis: ['setInterval'] });
  let nowMs = 0;
  const screen = new Screen(false);
  const progress = createProgress('lines', { out: screen, nowMs: () => nowMs, lineEveryMs: 1000 });
  const pass = (ms: number): void => {
    nowMs += ms;
    mock.timers.tick(ms);
  };
  progress.begin('blob', 10 * 2 ** 20, 2 ** 20);
  progress.update(3 * 2 ** 20);
  pass(1000);
  pass(1000);
  progress.end();
  pass(5000);
  mock.timers.reset();
  assert.deepEqual(screen.text.split('\n'), [
    'blob: begins (10.0 MiB), 1.0 MiB are here already',
    'blob: 3.0 MiB of 10.0 MiB (30 %), 2.0 MiB/s, 3.5 s left',
    'blob: 3.0 MiB of 10.0 MiB (30 %), 1.0 MiB/s, 7.0 s left',
    '',
  ]);
});

test('a bar shows the same on a terminal, and gives the cursor back', () => {
  let nowMs = 0;
  const screen = new Screen(true);
  const progress = createProgress('bar', { out: screen, nowMs: () => nowMs });
  progress.begin('blob', 4 * 2 ** 20, 0);
  nowMs = 1000;
  progress.update(2 ** 20);
  progress.end();
  assert.match(screen.text, /blob \[=+-+\] 1\.0 MiB of 4\.0 MiB \(25 %\), 1\.0 MiB\/s, 3\.0 s left/);
  assert.ok(screen.text.lastIndexOf('\u001b[?25h') > screen.text.lastIndexOf('\u001b[?25l'), 'cursor');
});

test('none says nothing', () => {
  const screen = new Screen(true);
  const progress = createProgress('none', { out: screen });
  progress.begin('blob', 1, 0);
  progress.update(1);
  progress.end();
  assert.equal(screen.text, '');
});
