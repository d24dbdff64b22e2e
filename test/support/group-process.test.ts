import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { groupMembers } from '../runner/process-group.ts';
import { eventually } from './eventually.ts';
import { GroupProcess } from './group-process.ts';

/** Starts another process, prints its id, and ends by a SIGTERM, which the other does not. */
const STUBBORN = `
  const child = require('child_process').spawn('sh', ['-c', 'trap "" TERM; while :; do sleep 60; done']);
  child.once('spawn', () => console.log(child.pid));
  setInterval(() => undefined, 1000);`;

test('a stop ends the program and everything that it started', async () => {
  const one = start(STUBBORN);
  await firstLine(one);
  assert.ok(groupMembers(one.pid).length >= 2);
  await one.stop();
  assert.deepEqual(groupMembers(one.pid), []);
  assert.ok(!one.isAlive);
});

test('a program that was stopped by SIGSTOP still gets its SIGTERM', async () => {
  const one = start(
    `process.on('SIGTERM', () => process.exit(3)); setInterval(() => undefined, 1000); console.log('on')`,
  );
  await firstLine(one);
  one.signal('SIGSTOP');
  await one.stop(10_000);
  assert.equal(one.child.exitCode, 3);
});

test('one that has ended by itself may be stopped and killed again', async () => {
  const one = start('');
  await once(one.child, 'exit');
  await one.stop();
  await one.kill();
});

test('a program that does not exist never runs', async () => {
  const one = new GroupProcess(['/does/not/exist'], { stdio: 'ignore' });
  await eventually(() => !one.isAlive);
  await one.stop();
});

test('it ends with the process that started it', { skip: process.platform !== 'linux' }, async () => {
  const parent = new GroupProcess(
    [
      process.execPath,
      '--input-type=module',
      '-e',
      PARENT,
      new URL('group-process.ts', import.meta.url).href,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const child = Number(await firstLine(parent));
  parent.child.kill('SIGKILL');
  await once(parent.child, 'exit');
  await eventually(() => groupMembers(child).length === 0);
});

const PARENT = `
  const { GroupProcess } = await import(process.argv[1]);
  const one = new GroupProcess(['sleep', '600'], { stdio: 'ignore' });
  one.child.once('spawn', () => console.log(one.pid));
  setInterval(() => undefined, 1000);`;

function start(code: string): GroupProcess {
  return new GroupProcess([process.execPath, '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function firstLine(one: GroupProcess): Promise<string> {
  const [line] = (await once(createInterface({ input: one.child.stdout ?? process.stdin }), 'line')) as [
    string,
  ];
  return line;
}
