// What a node's part in a swarm costs when nothing happens: one member here, the others in a process of their own.
//   node test/peer/membership/idle-cost.ts [members] [seconds]
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../support/eventually.ts';

const MIB = 2 ** 20;
const [, script = '', first = '50', second = '30', contact] = process.argv;
const members = Number(first);
const seconds = Number(second);
const bareBytes = process.memoryUsage().rss;
// Only now, so that what they cost is seen.
const { addressOf, startMember } = await import('./swarm.ts');
const { NetworkKeys } = await import('../../../peer/identity/network-keys.ts');
const keep = { after: () => undefined };
// The two processes have to be of one network.
const keys = NetworkKeys.insecure();

if (contact === undefined) await measure();
else await others(contact);

async function measure(): Promise<void> {
  const loadedBytes = process.memoryUsage().rss;
  const member = await startMember(keep, { keys });
  const child = spawn(process.execPath, [script, first, second, addressOf(member)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  try {
    await once(createInterface(child.stdout), 'line');
    await eventually(() => member.live().length === members, { timeoutMs: 60_000, everyMs: 500 });
    console.log(`${members} members, ${member.connected().length} connections; settling`);
    await sleep(20_000);
    const before = process.cpuUsage();
    const startMs = performance.now();
    await sleep(seconds * 1_000);
    const { user, system } = process.cpuUsage(before);
    const percent = (user + system) / 10 / (performance.now() - startMs);
    const { rss, heapUsed } = process.memoryUsage();
    console.log(`processor: ${percent.toFixed(2)} % of a core, ${member.connected().length} connections`);
    console.log(
      `memory: ${mib(rss)} MiB resident (bare ${mib(bareBytes)}, loaded ${mib(loadedBytes)}), heap ${mib(heapUsed)}`,
    );
  } finally {
    await end(child);
    await member.stop();
  }
}

async function others(address: string): Promise<void> {
  const all = [];
  for (let i = 1; i < members; i += 1) all.push(await startMember(keep, { keys, static: [address] }));
  console.log('up');
  await once(process.stdin.resume(), 'end');
  await Promise.all(all.map((member) => member.stop()));
}

async function end(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  if (child.exitCode === null) await once(child, 'exit');
}

function mib(bytes: number): number {
  return Math.round(bytes / MIB);
}
