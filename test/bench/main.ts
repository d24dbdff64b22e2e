import { appendFileSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { Scope } from '../e2e/support/scope.ts';
import { cold } from './benches/cold.ts';
import { firstByte } from './benches/first-byte.ts';
import { hit } from './benches/hit.ts';
import { memory } from './benches/memory.ts';
import { miss } from './benches/miss.ts';
import { nydusd } from './benches/nydusd.ts';
import { remoteHit } from './benches/remote-hit.ts';
import { restart } from './benches/restart.ts';
import { seeded } from './benches/seeded.ts';
import { simulation } from './benches/simulate.ts';
import { warm } from './benches/warm.ts';
import { flashCrowd } from './flash-crowd/bench.ts';
import { FLASH_CROWD_FLAGS, FLASH_CROWD_USAGE, flashCrowdOptions } from './flash-crowd/options.ts';
import { machine, Report } from './report.ts';
import type { Bench } from './stage.ts';

const BENCHES: Readonly<Record<string, Bench>> = {
  cold,
  'first-byte': firstByte,
  warm,
  memory,
  hit,
  miss,
  nydusd,
  restart,
  simulate: simulation,
  seeded,
  'remote-hit': remoteHit,
  'flash-crowd': flashCrowd,
};
const USAGE = `npm run bench -- [NAME …] [--rounds N] [--quick] [--json FILE] [--cache-gib N]

${Object.entries(BENCHES)
  .map(([name, { what }]) => `  ${name.padEnd(11)} ${what}`)
  .join('\n')}

  --rounds N     interleaved repetitions, else each bench's own number
  --quick        small sizes, one round: shows that it works, the figures mean little
  --json FILE    appends every single figure as a line of JSON
  --cache-gib N  how much restart has in its caches (8)

${FLASH_CROWD_USAGE}

Without a name all are run. A table shows medians with (least–most), and Damselfly's figure through each rival's,
round by round. BENCH_DAMSELFLY=FILE measures another build of the node than dist/src/main.js.`;

const { names, options } = parse();
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => interrupted.abort(new Error(`ended by ${name}`)));
}
const { json } = options;
if (json !== undefined) {
  mkdirSync(dirname(json), { recursive: true });
  appendFileSync(json, `${JSON.stringify({ machine: machine(), at: new Date() })}\n`);
}
for (const name of names) {
  const bench = BENCHES[name];
  if (bench !== undefined && !interrupted.signal.aborted) await runOne(name, bench);
}

/** Runs one bench up to its deadline; what it started is gone afterwards, and what it measured is shown. */
async function runOne(name: string, bench: Bench): Promise<void> {
  console.log(`\n== ${name}: ${bench.what}`);
  const record = new Report(name, json);
  const scope = new Scope();
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new Error(`not done within ${bench.deadlineMs / 60_000} minutes`)),
    bench.deadlineMs,
  );
  const signal = AbortSignal.any([late.signal, interrupted.signal]);
  const aborted = Promise.withResolvers<never>();
  aborted.promise.catch(() => undefined);
  signal.addEventListener('abort', () => aborted.reject(signal.reason));
  const done = bench.run({ scope, signal, record, ...options });
  try {
    await Promise.race([done, aborted.promise]);
  } catch (error) {
    console.error(`${name} failed:`, error);
    process.exitCode = 1;
  } finally {
    clearTimeout(timer);
    await scope.close().catch((error: unknown) => console.error(error));
    // What it was still waiting for has lost its process by now; what it started since goes as well.
    await done.catch(() => undefined);
    await scope.close().catch((error: unknown) => console.error(error));
  }
  console.log(record.table());
}

function parse() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        quick: { type: 'boolean' },
        json: { type: 'string' },
        'cache-gib': { type: 'string' },
        ...FLASH_CROWD_FLAGS,
      },
    });
    const unknown = positionals.find((name) => !(name in BENCHES));
    if (unknown !== undefined) throw new Error(`there is no bench "${unknown}"`);
    return {
      names: positionals.length > 0 ? positionals : Object.keys(BENCHES),
      options: {
        rounds: count(values.rounds, '--rounds'),
        quick: values.quick ?? false,
        json: values.json,
        cacheGiB: count(values['cache-gib'], '--cache-gib'),
        crowd: flashCrowdOptions(values),
      },
    };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}

function count(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`${name} takes a whole number from 1, not "${text}"`);
  return value;
}
