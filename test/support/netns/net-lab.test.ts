import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { eventually } from '../eventually.ts';
import { GroupProcess } from '../group-process.ts';
import { cannotMakeNetns } from './cannot.ts';
import { carry } from './carry.ts';
import { namespaces } from './leftovers.ts';
import { isAlive, ownerOf, self } from './names.ts';
import { type NetHost, NetLab } from './net-lab.ts';

const skip = cannotMakeNetns;
const MB = 1e6;

test('a link carries its rate each way, in one stream and in several', { skip }, async () => {
  const shape = { bytesPerSecond: 5 * MB };
  await using lab = await NetLab.make([{ name: 'shaped', up: shape, down: shape }, { name: 'free' }]);
  const [shaped, free] = [lab.host('shaped'), lab.host('free')];
  const bytes = 3 * MB;
  for (const [from, to, streams] of [
    [shaped, free, 1],
    [free, shaped, 1],
    [shaped, free, 4],
  ] as const) {
    const before = await lab.traffic();
    const rate = await carry(from, to, { bytes: bytes / streams, streams });
    // The first 8 ms may pass at once. Below, only a machine that is busy otherwise is allowed for.
    assert.ok(
      rate < shape.bytesPerSecond * 1.05 && rate > shape.bytesPerSecond * 0.5,
      `${from.name}: ${rate}`,
    );
    const after = await lab.traffic();
    const way = from === shaped ? 'upBytes' : 'downBytes';
    const counted = (after.get('shaped')?.[way] ?? 0) - (before.get('shaped')?.[way] ?? 0);
    assert.ok(counted >= bytes && counted < bytes * 1.1, `${counted} bytes of ${bytes} were counted`);
  }
  assert.ok((await carry(free, free, { bytes })) > 10 * shape.bytesPerSecond, 'loopback is not shaped');
});

test('hosts that take from one link at once get the same share of it', { skip }, async () => {
  const names = ['a', 'b', 'c', 'd'];
  const shape = { bytesPerSecond: 20 * MB };
  await using lab = await NetLab.make([
    { name: 'from', up: shape },
    ...names.map((name) => ({ name, down: shape })),
  ]);
  const rates = await Promise.all(
    names.map((name) => carry(lab.host('from'), lab.host(name), { bytes: 10 * MB })),
  );
  assert.ok(
    Math.max(...rates) < 1.6 * Math.min(...rates),
    `${rates.map((rate) => rate / MB).join(', ')} MB/s`,
  );
});

test('a link that is down and a partition hold bytes up without a reset; up and healed they go on', {
  skip,
}, async () => {
  await using lab = await NetLab.make(['a', 'b', 'c'].map((name) => ({ name })));
  await using ab = await echo(lab.host('a'), lab.host('b'));
  await using ac = await echo(lab.host('a'), lab.host('c'));
  for (const { cut, mend, held, free } of [
    { cut: () => lab.linkDown('b'), mend: () => lab.linkUp('b'), held: ab, free: ac },
    { cut: () => lab.partition([['a', 'b']]), mend: () => lab.heal(), held: ac, free: ab },
  ]) {
    assert.equal(await held.ask(), 'answered');
    await cut();
    assert.equal(await held.ask(), 'nothing');
    assert.equal(await free.ask(), 'answered');
    await mend();
    // The kernel's own timers send again what was lost.
    await eventually(async () => (await held.ask()) === 'answered', { timeoutMs: 15_000 });
  }
});

test('what crosses zones is counted, and what does not is not', { skip }, async () => {
  await using lab = await NetLab.make([
    { name: 'a', zone: 'east' },
    { name: 'b', zone: 'east' },
    { name: 'c', zone: 'west' },
  ]);
  await carry(lab.host('a'), lab.host('b'), { bytes: MB });
  const inside = await lab.zoneTraffic();
  assert.ok((inside.get('east')?.upBytes ?? MB) < MB / 10, 'a to b stays in the zone');
  await carry(lab.host('a'), lab.host('c'), { bytes: MB });
  const across = await lab.zoneTraffic();
  assert.ok((across.get('east')?.upBytes ?? 0) >= MB);
  assert.ok((across.get('west')?.downBytes ?? 0) >= MB);
});

test('a lab leaves another one alone', { skip }, async () => {
  await using first = await NetLab.make(['a', 'b'].map((name) => ({ name })));
  {
    await using _second = await NetLab.make([{ name: 'a' }]);
  }
  assert.ok((await carry(first.host('a'), first.host('b'), { bytes: MB })) > 0);
});

test('nothing is left behind: by its owner, and by the next one when the owner was killed', {
  skip,
}, async () => {
  const owner = self();
  const ours = async (): Promise<string[]> =>
    (await namespaces()).filter((name) => ownerOf(name)?.pid === owner.pid);
  const others = (await namespaces()).filter((name) => {
    const other = ownerOf(name);
    return other === undefined || isAlive(other);
  });
  const killed = new GroupProcess(
    [
      process.execPath,
      '--input-type=module',
      '-e',
      LEAVES_A_LAB,
      new URL('net-lab.ts', import.meta.url).href,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [line] = (await once(createInterface({ input: killed.child.stdout ?? process.stdin }), 'line')) as [
    string,
  ];
  const inside = Number(line);
  killed.child.kill('SIGKILL');
  await once(killed.child, 'exit');
  const left = async (): Promise<string[]> =>
    (await namespaces()).filter((name) => ownerOf(name)?.pid === killed.pid);
  assert.equal((await left()).length, 2, 'the switch and its host');
  {
    await using _lab = await NetLab.make([{ name: 'a' }]);
    assert.deepEqual(await left(), []);
    assert.equal((await ours()).length, 2);
    await eventually(() => !isRunning(inside), { what: 'what ran in the namespace has ended' });
  }
  assert.deepEqual(await ours(), []);
  const now = await namespaces();
  for (const name of others) {
    const other = ownerOf(name);
    assert.ok(now.includes(name) || (other !== undefined && !isAlive(other)), `${name} was somebody else's`);
  }
});

/** Prints the id of a process that runs in the lab's host, and waits to be killed. */
const LEAVES_A_LAB = `
  const { NetLab } = await import(process.argv[1]);
  const { spawn } = await import('node:child_process');
  const lab = await NetLab.make([{ name: 'a' }]);
  const [command, ...args] = [...lab.host('a').enter, 'sleep', '600'];
  const child = spawn(command, args, { stdio: 'ignore', detached: true });
  child.once('spawn', () => console.log(child.pid));
  setInterval(() => undefined, 1000);`;

/** One connection between two hosts on which a line is answered by a line. */
async function echo(server: NetHost, client: NetHost) {
  const script = (host: NetHost, code: string): GroupProcess =>
    new GroupProcess([...host.enter, process.execPath, '-e', code], { stdio: ['pipe', 'pipe', 'inherit'] });
  const listening = script(
    server,
    `const s = require('net').createServer((c) => c.pipe(c)); s.listen(0, '${server.address}', () => console.log(s.address().port))`,
  );
  const [port] = (await once(
    createInterface({ input: listening.child.stdout ?? process.stdin }),
    'line',
  )) as [string];
  const asking = script(
    client,
    `const c = require('net').connect(${port}, '${server.address}'); process.stdin.pipe(c); c.pipe(process.stdout)`,
  );
  const lines = createInterface({ input: asking.child.stdout ?? process.stdin });
  let asked = 0;
  return {
    /** Also when it is an earlier question that is answered now. */
    async ask(): Promise<'answered' | 'nothing'> {
      asked += 1;
      asking.child.stdin?.write(`${asked}\n`);
      const quiet = AbortSignal.timeout(700);
      try {
        await once(lines, 'line', { signal: quiet });
        return 'answered';
      } catch {
        return 'nothing';
      }
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await asking.kill();
      await listening.kill();
    },
  };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
