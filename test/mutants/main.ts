import { availableParallelism } from 'node:os';
import { MUTANTS } from './mutants.ts';
import type { Mutant } from './mutation.ts';
import { type Ran, runTests } from './run-tests.ts';

/*
 * `npm run mutants [-- NAME…]`: takes behaviours away, one at a time, and shows that the tests which are named for them
 * fail. First the same tests run on the node as it is, and must pass. Exit 1 when a mutant survives.
 */
const MAX_AT_ONCE = 3;
const wanted = process.argv.slice(2);
const mutants = MUTANTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const unknown = wanted.filter((name) => !MUTANTS.some((mutant) => mutant.name === name));
if (unknown.length > 0) {
  console.error(
    `There is no mutant ${unknown.join(', ')}. There are: ${MUTANTS.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}

const begunMs = performance.now();
const broken = new Set(await filesThatFail());
const shown = mutants.filter(({ tests }) => tests.every(([file]) => !broken.has(file)));
const survivors = await each(shown, async (mutant) => ((await isSeen(mutant)) ? [] : [mutant.name]));
const seconds = Math.round((performance.now() - begunMs) / 1000);
console.log(
  `${shown.length - survivors.length} of ${mutants.length} mutants were seen by their tests, in ${seconds} s`,
);
if (survivors.length > 0) console.log(`survived: ${survivors.join(', ')}`);
if (broken.size > 0) console.log(`not tried, since these fail without a mutant: ${[...broken].join(', ')}`);
process.exitCode = broken.size === 0 && survivors.length === 0 ? 0 : 1;

/** The tests, file by file, without any mutant: those that fail show nothing. */
async function filesThatFail(): Promise<string[]> {
  const titles = new Map<string, Set<string>>();
  for (const [file, title] of mutants.flatMap(({ tests }) => tests))
    titles.set(file, (titles.get(file) ?? new Set()).add(title));
  return each([...titles], async ([file, named]) => {
    const ran = await runTests(file, [...named], undefined);
    const isGood = ran.failed.length === 0 && ran.passed.length >= named.size;
    if (isGood) return [];
    console.log(
      `without a mutant: ${file}: ${ran.passed.length} passed, ${ran.failed.length} failed\n${ran.output}`,
    );
    for (const name of ran.failed) console.log(`  ${name}`);
    return [file];
  });
}

/** All of its tests fail, each in at least one of those whose title begins so. */
async function isSeen(mutant: Mutant): Promise<boolean> {
  const lines: string[] = [];
  let seen = true;
  for (const [file, title] of mutant.tests) {
    const ran = await runTests(file, [title], mutant);
    const why = verdict(ran);
    if (why !== undefined) seen = false;
    const count = `${ran.failed.length} of ${ran.failed.length + ran.passed.length} failed`;
    lines.push(`           ${title.trim()} (${file}): ${why ?? count}`);
    if (why !== undefined && ran.output !== '') lines.push(ran.output.slice(-2_000));
  }
  console.log(`${seen ? 'seen    ' : 'SURVIVED'}  ${mutant.name}: ${mutant.effect}\n${lines.join('\n')}`);
  return seen;
}

/** @returns why this shows nothing; undefined when it does. */
function verdict({ failed, passed, isMutated }: Ran): string | undefined {
  if (!isMutated) return 'the part was not put in';
  if (failed.length === 0 && passed.length === 0) return 'no test ran';
  return failed.length === 0 ? `${passed.length} passed` : undefined;
}

async function each<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<readonly Result[]>,
): Promise<Result[]> {
  const queue = items.values();
  const results: Result[] = [];
  const lane = async (): Promise<void> => {
    for (const item of queue) results.push(...(await work(item)));
  };
  await Promise.all(Array.from({ length: Math.min(MAX_AT_ONCE, availableParallelism()) }, lane));
  return results;
}
