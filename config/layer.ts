/** Where a value was said, for messages: a line of the file, a variable, a flag. */
export type Locate = (path: readonly PropertyKey[]) => string | undefined;

/** One place that configuration comes from. Later layers go over earlier ones. */
export interface Layer {
  readonly values: Readonly<Record<string, unknown>>;
  readonly locate: Locate;
}

/** Something wrong with one key, told in one line. */
export interface Problem {
  readonly path: string;
  readonly message: string;
  readonly where: string | undefined;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `over` wins; mappings are merged key by key, lists are replaced whole. A null takes back what lies under it. */
export function merge(under: unknown, over: unknown): unknown {
  if (!isMapping(over)) return over;
  const merged = new Map<string, unknown>(isMapping(under) ? Object.entries(under) : []);
  for (const [key, value] of Object.entries(over)) merged.set(key, merge(merged.get(key), value));
  // Object.fromEntries defines own properties, so that a key named __proto__ stays data.
  return Object.fromEntries(merged);
}

/** `a.b.c` = value as a nested mapping. */
export function nest(path: readonly string[], value: unknown): Record<string, unknown> {
  const [first = '', ...rest] = path;
  return Object.fromEntries([[first, rest.length === 0 ? value : nest(rest, value)]]);
}

/**
 * What an environment variable or a flag says: a list or mapping when it is one in YAML's flow form (JSON included),
 * else the text as it stands, which the readers of the schema turn into numbers, sizes and booleans.
 */
export function scalarOrStructure(text: string, parse: (text: string) => unknown): unknown {
  if (text === '' || text === 'null') return null;
  if (!/^[[{]/.test(text)) return text;
  try {
    const value = parse(text);
    return typeof value === 'object' ? value : text;
  } catch {
    return text; // such as [::1]:4001
  }
}
