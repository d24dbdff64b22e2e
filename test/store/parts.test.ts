import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { pino } from 'pino';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import { TooLate, within } from '../../src/store/deadline.ts';
import { Gate } from '../../src/store/gate.ts';
import { DiskHealth } from '../../src/store/health.ts';
import { LruList, type LruNode } from '../../src/store/lru-list.ts';

test('the list keeps the order of use, whatever is done to it', () => {
  interface Item extends LruNode {
    readonly name: number;
  }
  const action = fc.record({ what: fc.constantFrom('add', 'touch', 'remove'), name: fc.nat(7) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const list = new LruList<Item>();
      const nodes = Array.from({ length: 8 }, (_, name): Item => ({ name, older: null, newer: null }));
      let model: number[] = [];
      for (const { what, name } of actions) {
        const node = nodes[name] ?? assert.fail();
        const isIn = model.includes(name);
        if (what === 'remove') list.remove(node);
        else if (what === 'add' && !isIn) list.add(node);
        else if (isIn) list.touch(node);
        model = model.filter((other) => other !== name);
        if (what !== 'remove' && (isIn || what === 'add')) model.push(name);
        const order: number[] = [];
        list.findOldest((item) => {
          order.push(item.name);
          return false;
        });
        assert.deepEqual(order, model);
        assert.equal(
          list.findOldest((item) => item.name > 3)?.name,
          model.find((other) => other > 3),
        );
      }
    }),
  );
});

test('the gate lets so many in, queues so many, and keeps the order', async () => {
  const gate = new Gate(2, 2);
  const going: (() => void)[] = [];
  const started: number[] = [];
  const job = (n: number) => () => {
    started.push(n);
    return new Promise<void>((resolve) => going.push(resolve));
  };
  const runs = [1, 2, 3, 4].map((n) => gate.run(job(n)));
  assert.ok(gate.isFull);
  assert.deepEqual(started, [1, 2]);
  going.shift()?.();
  await runs[0];
  await turn();
  assert.deepEqual(started, [1, 2, 3]);
  assert.ok(!gate.isFull);
  await assert.rejects(
    Promise.all([
      gate.run(() => Promise.reject(new Error('mine'))),
      ...[0, 1, 2].map(async () => {
        await turn();
        going.shift()?.();
      }),
    ]),
    /mine/,
  );
  await Promise.all(runs);
  await gate.run(async () => undefined);
});

test('a wait ends by its work, its deadline or an abort, whichever is first', async () => {
  assert.equal(await within(Promise.resolve(1), 1_000), 1);
  await assert.rejects(within(Promise.reject(new Error('own')), 1_000), /own/);
  const never = new Promise<never>(() => undefined);
  await assert.rejects(within(never, 5), (error) => error instanceof TooLate);
  const abort = new AbortController();
  const waiting = within(never, 60_000, abort.signal);
  abort.abort(new Error('gone'));
  await assert.rejects(waiting, /gone/);
  await assert.rejects(within(Promise.resolve(1), 1_000, AbortSignal.abort(new Error('before'))), /before/);
});

test('a failing disk is probed ever more seldom, by one at a time', () => {
  let now = 0;
  const health = new DiskHealth({
    log: silentLogger,
    metrics: new Metrics(),
    now: () => now,
    firstProbeMs: 100,
  });
  assert.equal(health.refuses('write'), null);
  const waits: number[] = [];
  for (let round = 0; round < 12; round += 1) {
    health.failed('write', 'disk-error');
    assert.equal(health.refuses('write'), 'disk-error');
    const from = now;
    while (health.refuses('write') !== null) now += 50;
    assert.equal(health.refuses('write'), 'disk-error', 'a second probe at once');
    waits.push(now - from);
  }
  assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 800]);
  assert.equal(waits.at(-1), 60_000);
  health.succeeded('write');
  assert.equal(health.refuses('write'), null);
  assert.equal(health.degraded, null);
});

test('what fails together puts the next probe off once', () => {
  let now = 0;
  const health = new DiskHealth({
    log: silentLogger,
    metrics: new Metrics(),
    now: () => now,
    firstProbeMs: 100,
  });
  const waitMs = (): number => {
    const from = now;
    while (health.refuses('read') !== null) now += 10;
    return now - from;
  };
  for (let n = 0; n < 20; n += 1) health.failed('read', 'disk-slow');
  assert.equal(waitMs(), 100);
  // The probe is under way, and so are some of the first ones still.
  for (let n = 0; n < 20; n += 1) health.failed('read', 'disk-slow');
  assert.equal(waitMs(), 200);
  now += 70;
  for (let n = 0; n < 20; n += 1) health.failed('read', n % 2 === 0 ? 'disk-slow' : 'disk-error');
  assert.equal(waitMs(), 400);
});

test('the degraded metric is up while any duty fails', async () => {
  const metrics = new Metrics();
  const warned: string[] = [];
  const log = pino({}, { write: (line: string) => warned.push(line) });
  const health = new DiskHealth({ log, metrics });
  const value = async (): Promise<unknown> => (await metrics.storeDegraded.get()).values[0]?.value;
  assert.equal(await value(), 0);
  health.failed('read', 'disk-slow');
  health.failed('index', 'disk-full');
  assert.equal(health.degraded, 'disk-full');
  assert.match(warned.join(), /"fault":"disk-full".*less left than cache\.minFree/);
  health.succeeded('index');
  assert.equal(health.degraded, null);
  assert.equal(await value(), 1);
  health.succeeded('read');
  assert.equal(await value(), 0);
});
