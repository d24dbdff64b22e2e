import { isDeepStrictEqual } from 'node:util';
import { applyEdits, type Edit, modify, type ParseError, parse, printParseErrorCode } from 'jsonc-parser';
import { unusable } from './unusable.ts';

export type JsonObject = { readonly [key: string]: unknown };

/** @throws DamselflyError `client-config-unusable`. An empty file is an empty object. */
export function parseJson(path: string, text: string): JsonObject {
  if (text.trim() === '') return {};
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { disallowComments: true });
  const [first] = errors;
  if (first !== undefined) {
    const line = text.slice(0, first.offset).split('\n').length;
    const what = `is no valid JSON (${printParseErrorCode(first.error)} in line ${line})`;
    throw unusable(path, what, 'mend it first; nothing was changed');
  }
  if (!isObject(value)) throw unusable(path, 'holds no JSON object', 'mend it first; nothing was changed');
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object below `keys`; undefined when there is none. */
export function objectAt(root: unknown, keys: readonly string[]): JsonObject | undefined {
  let at = root;
  for (const key of keys) {
    if (!isObject(at)) return undefined;
    at = at[key];
  }
  return isObject(at) ? at : undefined;
}

/** Sets one value, or removes it (`undefined`); everything else stays as it is written. */
export function setJson(path: string, text: string, keys: readonly string[], value: unknown): string {
  const from = text.trim() === '' ? '{}\n' : text;
  const root = parseJson(path, from);
  const last = keys.at(-1) ?? '';
  if (isDeepStrictEqual(objectAt(root, keys.slice(0, -1))?.[last], value)) return text;
  // Without formatting of the library's own, which would take in the neighbours.
  const edits = modify(from, [...keys], value, {});
  if (value === undefined) return applyEdits(from, edits);
  return applyEdits(
    from,
    edits.map((edit) => ({ ...edit, content: laidOut(from, root, keys, value, edit) })),
  );
}

/** What an edit puts in, on lines of its own and indented as the file is. */
function laidOut(
  text: string,
  root: JsonObject,
  keys: readonly string[],
  value: unknown,
  edit: Edit,
): string {
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const unit = /\n([ \t]+)"/.exec(text)?.[1] ?? '  ';
  let depth = 1;
  while (depth < keys.length && objectAt(root, keys.slice(0, depth)) !== undefined) depth++;
  const key = keys[depth - 1] ?? '';
  const inner = keys.slice(depth).reduceRight<unknown>((sofar, name) => ({ [name]: sofar }), value);
  const pretty = JSON.stringify(inner, undefined, unit).replaceAll('\n', eol + unit.repeat(depth));
  if (edit.length > 0) return pretty;
  const property = `${eol}${unit.repeat(depth)}${JSON.stringify(key)}: ${pretty}`;
  if (edit.content.startsWith(',')) return `,${property}`;
  return `${property}${eol}${unit.repeat(depth - 1)}`;
}

/** A new file. */
export function jsonText(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
