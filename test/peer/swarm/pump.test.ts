import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pump } from '../../../peer/swarm/pump.ts';

test('a machine that always has more to do leaves the loop to others', async () => {
  let performed = 0;
  const pump = new Pump<string>(
    { take: () => ['more'], tick: () => undefined, nextAt: () => undefined },
    () => {
      performed += 1;
      pump.wake();
    },
    () => performance.now(),
  );
  pump.wake();
  // Else this timer never comes.
  while (performed < 1_000) await sleep(0);
  pump.stop();
});

test('what belongs to one turn of the loop is taken together', async () => {
  const wanted: string[] = [];
  const taken: string[][] = [];
  const pump = new Pump<string>(
    {
      take: () => {
        taken.push(wanted.splice(0));
        return [];
      },
      tick: () => undefined,
      nextAt: () => undefined,
    },
    () => undefined,
    () => performance.now(),
  );
  for (const one of ['a', 'b']) {
    wanted.push(one);
    pump.wake();
  }
  await sleep(0);
  pump.stop();
  assert.deepEqual(taken, [['a', 'b']]);
});
