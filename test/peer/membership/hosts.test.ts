import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { cannotMakeNetns } from '../../support/netns/cannot.ts';
import { NetLab } from '../../support/netns/net-lab.ts';
import { MemberProcess, processesAgree } from './process-swarm.ts';

const LISTEN = '/ip4/0.0.0.0/tcp/4006';

describe('members on hosts of their own', { skip: cannotMakeNetns }, () => {
  it('find each other by multicast DNS alone', async (t) => {
    await using lab = await NetLab.make([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
    for (const { enter } of lab.hosts) {
      const [command = '', ...args] = [...enter, 'ip', 'route', 'add', '224.0.0.0/4', 'dev', 'eth0'];
      execFileSync(command, args);
    }
    const members = await Promise.all(
      lab.hosts.map(({ enter }) => MemberProcess.start(t, { enter, listen: LISTEN, mdns: true })),
    );
    await eventually(() => processesAgree(members), { timeoutMs: 30_000, what: 'all know each other' });
    // A wildcard announces the interface's address, and not loopback.
    assert.deepEqual(
      members.map(({ report }) => report.control),
      lab.hosts.map(({ address }) => [`/ip4/${address}/tcp/4006`]),
    );
    for (const member of members) await member.process.kill();
  });

  it('fall apart when the network parts, and come together when it heals', async (t) => {
    const names = ['a', 'b', 'c', 'd'];
    await using lab = await NetLab.make(names.map((name) => ({ name })));
    const addresses = lab.hosts.map(({ address }) => address);
    const members = await Promise.all(
      lab.hosts.map(({ enter }) => MemberProcess.start(t, { enter, listen: LISTEN, static: addresses })),
    );
    await eventually(() => processesAgree(members), { timeoutMs: 30_000, what: 'all know each other' });
    const startMs = performance.now();
    await lab.partition([['a', 'b']]);
    const sides = [members.slice(0, 2), members.slice(2)];
    await eventually(() => sides.every(processesAgree), { timeoutMs: 60_000, what: 'each side is alone' });
    t.diagnostic(`apart after ${Math.round(performance.now() - startMs)} ms`);
    const healMs = performance.now();
    await lab.heal();
    await eventually(() => processesAgree(members), { timeoutMs: 60_000, what: 'all are together again' });
    t.diagnostic(`together after ${Math.round(performance.now() - healMs)} ms`);
    for (const member of members) await member.process.kill();
  });
});
