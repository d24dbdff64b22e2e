import { parseArgs } from 'node:util';
import { crashRounds } from './rounds.ts';

const USAGE = `npm run crash -- [--rounds N] [--seed S] [--main FILE] [--json]
  --rounds  kills and restarts (default 200; about 7 s each)
  --seed    repeats the choices of an earlier run (default: the time)
  --main    the program to be killed, e.g. dist/src/main.js (default: the sources)
Kills a node with SIGKILL under load, at random moments, and compares everything that it serves with the truth.
Ends with 1 when a wrong byte was served or fewer than 95 % of the settled pieces came back without the origin.`;

/** Of the pieces that were finished 2 s before a kill. */
const MIN_KEPT_SHARE = 0.95;

let args: { rounds?: string; seed?: string; main?: string; json?: boolean };
try {
  ({ values: args } = parseArgs({
    options: {
      rounds: { type: 'string' },
      seed: { type: 'string' },
      main: { type: 'string' },
      json: { type: 'boolean' },
    },
  }));
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`);
  process.exit(2);
}

const rounds = Number(args.rounds ?? 200);
if (!Number.isInteger(rounds) || rounds < 1) {
  console.error(`--rounds takes a whole number from 1\n${USAGE}`);
  process.exit(2);
}
const seed = args.seed ?? String(Date.now());
console.error(`seed ${seed}`);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
const report = await crashRounds({
  rounds,
  seed,
  main: args.main,
  signal: stop.signal,
  onRound: ({ rounds: done, wrong, checkedPieces, keptPieces, smallQuota }) =>
    console.error(
      `round ${done}: ${wrong.length} wrong, kept ${keptPieces}/${checkedPieces}, with a small quota ${smallQuota.keptPieces}/${smallQuota.checkedPieces}`,
    ),
});
const sorted = report.restartMs.toSorted((a, b) => a - b);
const share = (kept: number, of: number): string => `${((100 * kept) / Math.max(1, of)).toFixed(2)} %`;
if (args.json) console.log(JSON.stringify(report));
else {
  const { kills, smallQuota } = report;
  console.log(`seed ${report.seed}
kills              ${report.rounds}: ${kills.load} under load, ${kills.start} also while starting, ${kills.stop} while stopping
reads              ${report.reads} answered, ${report.cutReads} cut by kills, ${report.refusedReads} refused while the node lived
compared           ${(report.comparedBytes / 2 ** 30).toFixed(1)} GiB
wrong              ${report.wrong.length}
kept               ${report.keptPieces} of ${report.checkedPieces} pieces (${share(report.keptPieces, report.checkedPieces)})
kept, small quota  ${smallQuota.keptPieces} of ${smallQuota.checkedPieces} pieces (${share(smallQuota.keptPieces, smallQuota.checkedPieces)})
asked for rights   ${report.askedRights} of them
start to answer    ${sorted[Math.floor(sorted.length / 2)]} ms median, ${sorted.at(-1)} ms at most
errors logged      ${report.errors.length}`);
  for (const line of [...report.wrong, ...report.errors]) console.log(line);
}
const isKept = [report, report.smallQuota].every(
  ({ keptPieces, checkedPieces }) => keptPieces >= MIN_KEPT_SHARE * checkedPieces,
);
process.exitCode = report.wrong.length === 0 && isKept ? 0 : 1;
