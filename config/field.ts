import { z } from 'zod';

/** What a key's documentation says besides its value; read by the generators of damselfly.yaml and of the table. */
export interface KeyNote {
  /** One or more sentences; the first is the summary. */
  readonly description: string;
  /** The default as one writes it in YAML; absent for keys that have none. */
  readonly default?: unknown;
  /** Shown, commented out, for keys without a default. */
  readonly example?: unknown;
  /** What is accepted: also the second half of the message that refuses a value. */
  readonly expected: string;
}

/** Stands for "this is not acceptable" in a reader; `undefined` is a value (an unset key). */
export const REFUSED: unique symbol = Symbol('refused');
/** Turns what the file, the environment or a flag says into a value, or refuses it. */
export type Reader<T> = (value: unknown) => T | typeof REFUSED;

const notes = z.registry<KeyNote>();

export function noteOf(schema: z.core.$ZodType): KeyNote | undefined {
  return notes.get(schema);
}

interface RequiredField<T> {
  readonly description: string;
  readonly expected: string;
  readonly example?: unknown;
  readonly read: Reader<T>;
}

interface DefaultedField<T> extends RequiredField<T> {
  readonly default: unknown;
}

/** A key that must be given (only inside list entries). */
export function required<T>(spec: RequiredField<T>): z.ZodType<T> {
  return leaf(spec, (value) => spec.read(value));
}

/** A key that may be left out. A bare `key:` in YAML (null) is, here and below, the same as leaving it out. */
export function optional<T>(spec: RequiredField<T>): z.ZodType<T | undefined> {
  return leaf<T | undefined>(spec, (value) => (value == null ? undefined : spec.read(value)));
}

/** A key with a default, which is written as one would write it in YAML and read like any other value. */
export function defaulted<T>(spec: DefaultedField<T>): z.ZodType<T> {
  return leaf(spec, (value) => spec.read(value ?? spec.default));
}

// `optional()` lets the reader see an absent key, so that a default is filled in and a missing one worded in one place.
function leaf<T>(note: KeyNote, read: Reader<T>): z.ZodType<T> {
  const schema = z
    .unknown()
    .optional()
    .transform((value, context) => {
      const result = read(value);
      if (result !== REFUSED) return result;
      context.issues.push({ code: 'custom', input: value, message: note.expected });
      return z.NEVER;
    });
  notes.add(schema, note);
  // zod types a transform's input as unknown already; only the output is narrowed here.
  return schema as unknown as z.ZodType<T>;
}

/** A list of entries that are themselves mappings. */
export function listOf<Entry extends z.ZodType>(
  entry: Entry,
  note: Omit<KeyNote, 'default'>,
): z.ZodPrefault<z.ZodArray<Entry>> {
  const schema = z.array(entry, { error: note.expected }).prefault([]);
  notes.add(schema, { ...note, default: [] });
  return schema;
}

/** A mapping nested in another: absent means all its defaults. */
export function section<Shape extends z.core.$ZodLooseShape>(
  shape: Shape,
  description: string,
): z.ZodPrefault<z.ZodObject<Shape, z.core.$strict>> {
  const object = z.strictObject(shape, { error: mappingExpected });
  const schema = object.prefault({} as never);
  notes.add(schema, { description, expected: MAPPING_EXPECTED });
  return schema;
}

const MAPPING_EXPECTED = 'a mapping of keys to values';

/** Only the wrong type is ours to word: unknown keys keep zod's own issue, which the loader explains. */
export function mappingExpected(issue: z.core.$ZodRawIssue): string | undefined {
  return issue.code === 'invalid_type' ? MAPPING_EXPECTED : undefined;
}
