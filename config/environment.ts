import { addressableKeys } from './keys.ts';
import { type Layer, merge, nest, type Problem, scalarOrStructure } from './layer.ts';
import { nearest } from './near.ts';
import { showValue } from './problems.ts';

const PREFIX = 'DAMSELFLY_';

/** `DAMSELFLY_PROXY__LISTEN`: the path in upper case, `__` between levels, nothing inside a word. */
export function variableOf(path: readonly string[]): string {
  return PREFIX + path.map((word) => word.toUpperCase()).join('__');
}

/**
 * Reads the `DAMSELFLY_…` variables. Others of that prefix are left alone (Kubernetes makes DAMSELFLY_SERVICE_HOST and
 * the like for a Service of this name), unless they look like a key: by `__`, or by a key's letters.
 */
export function environmentLayer(
  env: Readonly<Record<string, string | undefined>>,
  parse: (text: string) => unknown,
): { layer: Layer; problems: Problem[] } {
  const keys = addressableKeys();
  const byVariable = new Map(keys.map((key) => [variableOf(key.path), key]));
  const letters = (name: string): string => name.slice(PREFIX.length).replaceAll('_', '').toUpperCase();
  const byLetters = new Map(keys.map((key) => [letters(variableOf(key.path)), variableOf(key.path)]));
  const problems: Problem[] = [];
  const variables = new Map<string, string>();
  let values: unknown = {};
  for (const [name, value] of Object.entries(env).sort()) {
    // An empty variable is what a template leaves behind for "not set".
    if (!name.startsWith(PREFIX) || value === undefined || value === '') continue;
    const key = byVariable.get(name);
    if (key !== undefined) {
      variables.set(key.path.join('.'), name);
      values = merge(values, nest(key.path, scalarOrStructure(value, parse)));
      continue;
    }
    const meant = byLetters.get(letters(name));
    if (meant === undefined && !name.includes('__')) continue;
    const near = meant ?? nearest(name, [...byVariable.keys()]);
    problems.push({
      path: name,
      message: `unknown variable (value ${showValue(value, name)}); expected ${near === undefined ? 'the path of a key' : near}`,
      where: 'environment',
    });
  }
  return { layer: { values: values as Record<string, unknown>, locate: locator(variables) }, problems };
}

/** Finds the variable or flag that said a key, or the mapping or list around it. */
export function locator(said: ReadonlyMap<string, string>): Layer['locate'] {
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const found = said.get(path.slice(0, length).join('.'));
      if (found !== undefined) return found;
    }
    return undefined;
  };
}
