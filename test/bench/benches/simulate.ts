import { type Outcome, simulate } from '../simulate/outcome.ts';
import { FLASH_CROWD, type Scenario } from '../simulate/scenario.ts';
import { type Bench, MINUTE_MS } from '../stage.ts';

const MB = 1_000_000;

const SMALL: readonly Partial<Scenario>[] = [
  { name: '8 nodes, 256 MiB, all links 20 MB/s' },
  { name: '16 nodes, 256 MiB, all links 20 MB/s', nodes: 16 },
  { name: '8 nodes, origin 5 MB/s', originRate: 5 * MB, pieces: 128 },
  { name: '8 nodes, a quarter killed after 6 s', deaths: 0.25, deathAtMs: 6_000 },
  { name: '8 nodes, a quarter falls silent after 6 s', deaths: 0.25, deathAtMs: 6_000, deathKind: 'silent' },
  { name: '24 nodes in 3 zones', nodes: 24, zones: 3 },
  { name: '16 lazy readers of 200 of 1,024 pieces', nodes: 16, pieces: 1_024, reads: 'lazy', lazyReads: 200 },
];

const LARGE: readonly Partial<Scenario>[] = [
  { name: '128 nodes, 256 MiB', nodes: 128 },
  { name: '1,000 nodes, 128 MiB', nodes: 1_000, pieces: 128 },
];

/** The real placement, planner and hunt over simulated links: what they make of the hardware, and what they cost. */
export const simulation: Bench = {
  what: 'flash crowds over simulated links: time against the bound, amplification, control cost, connections',
  deadlineMs: 30 * MINUTE_MS,
  run: async (stage) => {
    const rows = [];
    for (const change of stage.quick ? SMALL : [...SMALL, ...LARGE]) {
      if (stage.signal.aborted) return;
      const scenario = { ...FLASH_CROWD, ...change };
      const outcome = simulate(scenario);
      rows.push(row(scenario, outcome));
      console.log(`  ${scenario.name}: efficiency ${outcome.efficiency.toFixed(3)}`);
      // Lets a signal to the process be seen.
      await new Promise((resolve) => setImmediate(resolve));
    }
    stage.record.detail('Simulated', rows);
    stage.record.note(
      'bound: max(F/origin, F/down, N·F/(origin + N·up)); control: planner messages and questions, in and out, over the payload; handshakes at 5 ms of CPU each; membership: 3 partners every 2 s, 320 bytes a swap',
    );
  },
};

function row({ name }: Scenario, outcome: Outcome): Record<string, string | number> {
  const percent = (part: number): string => `${(100 * part).toFixed(2)} %`;
  return {
    scenario: outcome.isComplete ? name : `${name} (NOT finished)`,
    'bound s': (outcome.boundMs / 1_000).toFixed(1),
    'slowest s': (outcome.slowestMs / 1_000).toFixed(1),
    efficiency: outcome.efficiency.toFixed(2),
    amplification: outcome.amplification.toFixed(3),
    'hottest ÷ mean': outcome.hottest.toFixed(2),
    control: percent(outcome.control),
    'control, most': percent(outcome.controlMost),
    membership: percent(outcome.membership),
    'messages per node': Math.round(outcome.plannerMessages),
    connections: outcome.peakConnections,
    'peers spoken to': outcome.peers,
    'handshake CPU ms': Math.round(outcome.handshakeCpuMs),
    'first piece ms': Math.round(outcome.firstByteMs),
    unleased: outcome.unleased + outcome.givenUp,
  };
}
