import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { MUTANTS } from './mutants.ts';
import { MARK_VARIABLE, MUTANT_VARIABLE } from './mutation.ts';

/*
 * Preloaded (`node --import`) into a test's process: whoever imports the original module gets the part that stands in
 * for it, except the part itself, which builds on the original. So the node is put together as always, from the same
 * sources, with one piece exchanged.
 */
const name = process.env[MUTANT_VARIABLE];
const mutant = MUTANTS.find((candidate) => candidate.name === name);
if (mutant === undefined) throw new Error(`${MUTANT_VARIABLE}: there is no mutant ${name}`);
const original = new URL(`../../${mutant.replaces}`, import.meta.url).href;
const part = new URL(`parts/${mutant.name}.ts`, import.meta.url).href;

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    if (resolved.url !== original || context.parentURL === part) return resolved;
    const mark = process.env[MARK_VARIABLE];
    if (mark !== undefined) appendFileSync(mark, `${fileURLToPath(part)}\n`);
    return { ...resolved, url: part };
  },
});
