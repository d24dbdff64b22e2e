import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { boundSeconds, originOnlySeconds } from '../bench/flash-crowd/bound.ts';
import type { CrowdFacts, NodeFacts } from '../bench/flash-crowd/facts.ts';
import { crowdFigures, failures, quantile, swarmRows } from '../bench/flash-crowd/figures.ts';
import { flashCrowdOptions, killCount, showRate } from '../bench/flash-crowd/options.ts';
import { replay, wholeBlob } from '../bench/flash-crowd/wanted.ts';
import { readTrace, type Trace } from './trace.ts';

const MIB = 1 << 20;
const MACHINE = { clientCpuSeconds: 3, originCpuSeconds: 1, machineBusySeconds: 8, machineSeconds: 20 };
const RATES = { originUp: 20e6, nodeUp: 20e6, nodeDown: 20e6 };

test('the bound is one copy through the slowest of what it must pass', () => {
  const crowd = { bytes: 200e6, readers: 8, uploaders: 8 };
  assert.equal(boundSeconds(crowd, RATES), 10);
  assert.equal(boundSeconds(crowd, { ...RATES, nodeDown: 10e6 }), 20);
  assert.equal(boundSeconds(crowd, { ...RATES, originUp: 5e6 }), 40);
  // 1,600 MB over uplinks of 20 + 8 × 1 MB/s.
  assert.equal(boundSeconds(crowd, { ...RATES, nodeUp: 1e6 }), 1600 / 28);
  // The example of Kumar and Ross's formula in peers.md: 1 GB, 100 nodes, 10 Gbit/s.
  const fast = { originUp: 1.25e9, nodeUp: 1.25e9, nodeDown: 1.25e9 };
  assert.equal(boundSeconds({ bytes: 1e9, readers: 100, uploaders: 100 }, fast), 0.8);
  assert.equal(originOnlySeconds({ bytes: 1e9, readers: 100, uploaders: 100 }, fast), 80);
});

test('passing on never makes the bound worse, and no bound is below one copy from the origin', () => {
  const positive = fc.integer({ min: 1, max: 1e9 });
  fc.assert(
    fc.property(
      positive,
      fc.integer({ min: 1, max: 100 }),
      positive,
      positive,
      positive,
      (bytes, readers, ...r) => {
        const rates = { originUp: r[0], nodeUp: r[1], nodeDown: r[2] };
        const crowd = { bytes, readers, uploaders: readers };
        assert.ok(boundSeconds(crowd, rates) <= originOnlySeconds(crowd, rates));
        assert.ok(boundSeconds(crowd, rates) >= bytes / rates.originUp);
      },
    ),
  );
});

test('options have their defaults, units and names', () => {
  const defaults = flashCrowdOptions({});
  assert.equal(defaults.rate, 20e6);
  assert.equal(defaults.originRate, 20e6);
  assert.equal(defaults.peers, false);
  assert.deepEqual(defaults.reads, ['whole', 'lazy']);
  assert.equal(defaults.nodes, undefined);
  const given = flashCrowdOptions({
    ...{ nodes: '16', size: '1GiB', rate: '40MB/s', kill: '25%', peers: 'on', transport: 'libp2p' },
    ...{ 'slow-origin': true, zones: '2', reads: 'lazy', form: 'loopback' },
  });
  assert.equal(given.nodes, 16);
  assert.equal(given.sizeBytes, 1 << 30);
  assert.equal(given.rate, 40e6);
  assert.equal(given.originRate, 5e6);
  assert.equal(given.killShare, 0.25);
  assert.equal(given.peers, true);
  assert.deepEqual(given.reads, ['lazy']);
  assert.equal(flashCrowdOptions({ rate: '40MB/s' }).originRate, 40e6);
});

test('an option that is none names itself', () => {
  for (const flags of [
    { nodes: '0' },
    { nodes: '1.5' },
    { size: 'much' },
    { rate: '0' },
    { 'origin-rate': 'fast' },
    { kill: '100%' },
    { kill: '-1' },
    { peers: 'yes' },
    { transport: 'quic' },
    { zones: '0' },
    { reads: 'none' },
    { trace: 'stargz-0.19.1-whole-layer' },
    { 'trace-reads': '0' },
    { form: 'docker' },
  ]) {
    const [name] = Object.keys(flags);
    assert.throws(() => flashCrowdOptions(flags), new RegExp(`--${name} takes `), name);
  }
  assert.throws(
    () => flashCrowdOptions({ 'slow-origin': true, 'origin-rate': '1MB/s' }),
    /exclude each other/,
  );
});

test('a share kills at least one node and leaves at least one', () => {
  assert.deepEqual(
    [0, 0.01, 0.25, 0.99].map((share) => killCount(8, share)),
    [0, 1, 2, 7],
  );
});

test('rates are shown as they are given', () => {
  assert.equal(showRate(20e6), '20 MB/s');
  assert.equal(showRate(19_886_543.2), '19.89 MB/s');
});

test('what a replay wants: the ranges of each connection in order, and the pieces they touch', () => {
  const wanted = replay(
    traceOf([
      [1, [3 * MIB, 3 * MIB + 9]],
      [2, [10, MIB - 1]],
      [1, [0, 5]],
    ]),
  );
  assert.deepEqual(wanted.lanes, [
    [
      { start: 3 * MIB, end: 3 * MIB + 10 },
      { start: 0, end: 6 },
    ],
    [{ start: 10, end: MIB }],
  ]);
  // Pieces 0 and the last one, which has 100 bytes.
  assert.equal(wanted.pieceBytes, MIB + 100);
  assert.equal(wanted.answerBytes, 10 + 6 + MIB - 10);
  assert.equal(
    replay(
      traceOf([
        [1, [0, 5]],
        [1, [MIB, MIB]],
      ]),
      1,
    ).answerBytes,
    6,
  );
  assert.throws(() => replay(traceOf([[1, [0, null]]])), /closed range/);
});

test('the recorded nydusd wants its whole blob', async () => {
  const { answerBytes, blobBytes, lanes, pieceBytes } = replay(
    await readTrace('nydusd-2.2.0-rafs6-whole-tree'),
  );
  assert.equal(blobBytes, 231_556_104);
  assert.ok(pieceBytes > 0.99 * blobBytes && pieceBytes <= blobBytes, String(pieceBytes));
  assert.ok(answerBytes >= blobBytes * 0.99 && lanes.length === 1);
});

test('figures of a crowd', () => {
  const facts: CrowdFacts = {
    ...{ startAtMs: 1000, originBytes: 150, originWireBytes: 160, zoneInBytes: [100, 110], ...MACHINE },
    nodes: [
      node('a', { endedAtMs: 5000, firstByteMs: [10], peers: 60, sent: 90, wire: [120, 10] }),
      node('b', { endedAtMs: 9000, firstByteMs: [30, 20], peers: 30, sent: 30, wire: [120, 50] }),
      node('c', { endedAtMs: 2000, firstByteMs: [999], killed: true, failure: 'abandoned' }),
    ],
  };
  const rates = { originUp: 25, nodeUp: 50, nodeDown: 50 };
  const figures = Object.fromEntries(crowdFigures(facts, wholeBlob(100), rates));
  assert.equal(figures['bound s'], 4);
  assert.equal(figures['bound without peers s'], 8);
  assert.equal(figures['slowest node s'], 8);
  assert.equal(figures['median node s'], 6);
  assert.equal(figures['efficiency (bound ÷ slowest)'], 0.5);
  assert.equal(figures['origin amplification'], 1.5);
  assert.equal(figures['origin amplification on the wire'], 1.6);
  assert.equal(figures['received ÷ wanted'], 1.05);
  assert.equal(figures['share of it from peers'], 90 / 210);
  assert.equal(figures['received ÷ wanted on the wire'], 1.2);
  assert.equal(figures['hottest upload ÷ mean'], 50 / 30, 'by link, not by what the process says');
  assert.equal(figures['into a zone ÷ wanted, most'], 1.1);
  assert.equal(figures['first byte p50 ms'], 20);
  assert.equal(figures['first byte p99 ms'], 30);
  assert.equal(figures['machine busy %'], 40);
  assert.equal(figures['busy with this %'], 30, 'two nodes, their clients and the origin');
  assert.equal(figures['wrong bytes'], 0);
  assert.equal(figures['nodes that did not finish'], 0);
  assert.deepEqual(swarmRows(facts), [{ counter: 'asks', 'all nodes': 90, 'most on one': 60 }]);
  assert.deepEqual(failures(facts), [], 'who was killed on purpose need not finish');
});

test('nobody uploads: no hottest node, and on loopback nothing of links', () => {
  const facts: CrowdFacts = {
    ...{ startAtMs: 0, originBytes: 200, originWireBytes: undefined, zoneInBytes: [], ...MACHINE },
    nodes: [node('a', { endedAtMs: 1000 }), node('b', { endedAtMs: 1000 })],
  };
  const names = crowdFigures(facts, wholeBlob(100), RATES).map(([name]) => name);
  assert.ok(names.every((name) => !/hottest|wire|zone/.test(name)));
});

test('wrong bytes fail the bench, those of a killed node too, and so does who does not finish', () => {
  const facts: CrowdFacts = {
    ...{ startAtMs: 0, originBytes: 200, originWireBytes: undefined, zoneInBytes: [], ...MACHINE },
    nodes: [
      node('a', { killed: true, failure: 'abandoned', wrongBytes: 7 }),
      node('b', { failure: 'not done within 60 s' }),
    ],
  };
  assert.deepEqual(failures(facts), ['a gave 7 wrong bytes', 'b did not finish: not done within 60 s']);
});

test('quantiles are values that were seen', () => {
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.99), 4);
  assert.equal(quantile([7], 0.01), 7);
});

function node(
  name: string,
  seen: {
    readonly endedAtMs?: number;
    readonly firstByteMs?: readonly number[];
    readonly killed?: boolean;
    readonly failure?: string;
    readonly wrongBytes?: number;
    readonly peers?: number;
    readonly sent?: number;
    readonly wire?: readonly [down: number, up: number];
  },
): NodeFacts {
  const {
    endedAtMs = 1000,
    failure = null,
    firstByteMs = [1],
    killed = false,
    peers = 0,
    sent = 0,
    wire,
  } = seen;
  return {
    ...{ name, killed },
    outcome: {
      ...{ startedAtMs: 0, endedAtMs, bytes: 100, wrongBytes: seen.wrongBytes ?? 0, wholes: [], firstByteMs },
      ...{ retries: 0, failure },
    },
    wire: wire && { downBytes: wire[0], upBytes: wire[1] },
    process: killed
      ? undefined
      : {
          // What peers did not give comes from the origin; the first node has some of it twice.
          originBytes: 100 - peers + (name === 'a' && peers > 0 ? 10 : 0),
          ...{ peerBytes: peers, sentToPeersBytes: sent, cpuSeconds: 1, peakMiB: 100 },
          counted: new Map([
            ['asks', peers],
            ['leases', 0],
          ]),
        },
  };
}

function traceOf(
  reads: readonly (readonly [connection: number, range: readonly [number, number | null]])[],
): Trace {
  return {
    ...{ client: 'none', note: '', blobSize: 3 * MIB + 100 },
    requests: reads.map(([connection, range]) => ({
      ms: 0,
      connection,
      method: 'GET',
      path: '/v2/x/blobs/y',
      range,
    })),
  };
}
