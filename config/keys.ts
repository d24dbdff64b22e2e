import { z } from 'zod';
import { type KeyNote, noteOf } from './field.ts';
import { configSchema } from './schema.ts';

/** One key of the configuration file, in the order of the schema. */
export interface ConfigKey extends KeyNote {
  readonly path: readonly string[];
  /** mapping: has keys of its own; entries: a list of mappings; value: everything else. */
  readonly kind: 'mapping' | 'entries' | 'value';
  /** The keys of a mapping, or of each entry. */
  readonly keys: readonly ConfigKey[];
}

/** All keys as a tree, read off the schema. */
export const CONFIG_KEYS: readonly ConfigKey[] = keysOf(configSchema, []);

function keysOf(object: z.ZodObject, parent: readonly string[]): ConfigKey[] {
  return Object.entries(object.shape).map(([name, schema]) => describe(schema, [...parent, name]));
}

function describe(schema: z.core.$ZodType, path: readonly string[]): ConfigKey {
  const note = noteOf(schema);
  if (note === undefined) throw new TypeError(`config key ${path.join('.')} is not described`);
  const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
  if (inner instanceof z.ZodObject) return { ...note, path, kind: 'mapping', keys: keysOf(inner, path) };
  if (inner instanceof z.ZodArray && inner.element instanceof z.ZodObject)
    return { ...note, path, kind: 'entries', keys: keysOf(inner.element, [...path, '[]']) };
  return { ...note, path, kind: 'value', keys: [] };
}

/** Every mapping and value outside list entries: what the environment and `--set` can name. */
export function addressableKeys(keys: readonly ConfigKey[] = CONFIG_KEYS): ConfigKey[] {
  return keys.flatMap((key) => [key, ...(key.kind === 'mapping' ? addressableKeys(key.keys) : [])]);
}

/** @param path names and list indexes. @returns the names that the mapping at `path` knows. */
export function namesAt(path: readonly PropertyKey[]): readonly string[] {
  let keys = CONFIG_KEYS;
  for (const step of path) {
    if (typeof step === 'number') continue;
    keys = keys.find((key) => key.path.at(-1) === step)?.keys ?? [];
  }
  return keys.map((key) => key.path.at(-1) ?? '');
}
