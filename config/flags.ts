import { locator } from './environment.ts';
import { addressableKeys } from './keys.ts';
import { type Layer, merge, nest, type Problem, scalarOrStructure } from './layer.ts';
import { nearest } from './near.ts';

/** Reads the `--set a.b=value` flags, the last one of a key winning. */
export function flagLayer(
  flags: readonly string[],
  parse: (text: string) => unknown,
): { layer: Layer; problems: Problem[] } {
  const known = new Map(addressableKeys().map((key) => [key.path.join('.'), key.path]));
  const problems: Problem[] = [];
  const said = new Map<string, string>();
  let values: unknown = {};
  for (const flag of flags) {
    const equals = flag.indexOf('=');
    const name = equals < 0 ? flag : flag.slice(0, equals);
    const path = known.get(name);
    if (equals < 0 || path === undefined) {
      problems.push({ path: name, message: explain(name, equals, [...known.keys()]), where: '--set' });
      continue;
    }
    said.set(name, `--set ${name}`);
    values = merge(values, nest(path, scalarOrStructure(flag.slice(equals + 1), parse)));
  }
  return { layer: { values: values as Record<string, unknown>, locate: locator(said) }, problems };
}

function explain(name: string, equals: number, known: readonly string[]): string {
  if (equals < 0) return 'has no value; expected --set KEY=VALUE such as --set log.level=debug';
  if (name.startsWith('origins.') || name.startsWith('origins['))
    return `expected the whole list at once, as JSON: --set 'origins=[{"host":"registry.example.com"}]'`;
  const near = nearest(name, known);
  return `unknown key; expected ${near === undefined ? 'the path of a key, such as log.level' : near}`;
}
