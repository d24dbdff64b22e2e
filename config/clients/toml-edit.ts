import { isDeepStrictEqual } from 'node:util';
import { parse, patch, stringify } from '@decimalturn/toml-patch';
import { unusable } from './unusable.ts';

export type TomlTable = { [key: string]: unknown };

/** @throws DamselflyError `client-config-unusable`. */
export function parseToml(path: string, text: string): TomlTable {
  try {
    return parse(text) as TomlTable;
  } catch (cause) {
    throw unusable(path, 'is no valid TOML', 'mend it first; nothing was changed', cause);
  }
}

/** The table below `keys`; undefined when there is none. */
export function tableAt(root: unknown, keys: readonly string[]): TomlTable | undefined {
  let at = root;
  for (const key of keys) {
    if (!isTable(at)) return undefined;
    at = at[key];
  }
  return isTable(at) ? at : undefined;
}

export function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** The strings of an array; none when it is something else. */
export function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

/** The tables of an array; none when it is something else. */
export function tablesOf(value: unknown): readonly TomlTable[] {
  return Array.isArray(value) ? value.filter(isTable) : [];
}

/** Sets one key of a table, which is made when there is none. Everything else stays, comments and spacing included. */
export function setTomlKey(
  path: string,
  text: string,
  table: readonly string[],
  key: string,
  value: unknown,
): string {
  if (isDeepStrictEqual(tableAt(parseToml(path, text), table)?.[key], value)) return text;
  const line = `${stringify({ [key]: value }).trim()}`;
  const block = `[${tomlKey(table)}]\n  ${line}\n`;
  const set = (root: TomlTable): void => {
    makeTable(root, table)[key] = value;
  };
  const missing = tableAt(parseToml(path, text), table) === undefined;
  return edited(
    path,
    text,
    set,
    missing ? [() => appendToml(text, block), patched(text, set)] : [patched(text, set)],
    block,
  );
}

/**
 * Puts a block of text (whole tables) in front of the first line that matches, the comment above that line staying with
 * it; at the end when no line matches. @param set the same change to the parsed file, which the result is held against.
 */
export function insertToml(
  path: string,
  text: string,
  before: RegExp,
  block: string,
  set: (root: TomlTable) => void,
  holds: (root: TomlTable) => boolean = () => true,
): string {
  const candidates = [() => inserted(text, before, block), patched(text, set)];
  return edited(path, text, set, candidates, block, holds);
}

/** Changes values that are there. @param byHand what to tell when that cannot be done. */
export function changeToml(
  path: string,
  text: string,
  byHand: string,
  set: (root: TomlTable) => void,
): string {
  return edited(path, text, set, [patched(text, set)], byHand);
}

/** `a."b.c".d`: as a header has it. */
export function tomlKey(keys: readonly string[]): string {
  return keys.map((key) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key))).join('.');
}

/** The first way whose result says what is wanted and has lost no line but the one that changed. */
function edited(
  path: string,
  text: string,
  set: (root: TomlTable) => void,
  ways: readonly (() => string)[],
  block: string,
  holds: (root: TomlTable) => boolean = () => true,
): string {
  const wanted = parseToml(path, text);
  set(wanted);
  for (const way of ways) {
    const result = attempt(way);
    if (result === undefined) continue;
    const root = attempt(() => parse(result) as TomlTable);
    if (root === undefined || !isDeepStrictEqual(plain(root), plain(wanted)) || !holds(root)) continue;
    if (lostLines(text, result) <= 1) return result;
  }
  throw unusable(
    path,
    'is written in a way that cannot be edited without touching what else is in it',
    `put this into it by hand:\n${block}`,
  );
}

function attempt<T>(way: () => T): T | undefined {
  try {
    return way();
  } catch {
    // The library gives up on some forms; the next way may not.
    return undefined;
  }
}

function patched(text: string, set: (root: TomlTable) => void): () => string {
  return () => {
    const wanted = parse(text) as TomlTable;
    set(wanted);
    return patch(text, wanted);
  };
}

/** Puts a block of text (whole tables) at the end. */
export function appendToml(text: string, block: string): string {
  const eol = lineEnd(text);
  const gap = text === '' ? '' : text.endsWith('\n') ? eol : eol + eol;
  return text + gap + block.replaceAll('\n', eol);
}

function inserted(text: string, before: RegExp, block: string): string {
  const eol = lineEnd(text);
  const lines = text.split(/(?<=\n)/);
  let at = lines.findIndex((line) => before.test(line));
  if (at < 0) return appendToml(text, block);
  while (at > 0 && /^[ \t]*#/.test(lines[at - 1] ?? '')) at--;
  return [...lines.slice(0, at), block.replaceAll('\n', eol), eol, ...lines.slice(at)].join('');
}

function lineEnd(text: string): string {
  return text.includes('\r\n') ? '\r\n' : '\n';
}

function makeTable(root: TomlTable, keys: readonly string[]): TomlTable {
  let at = root;
  for (const key of keys) {
    const next = at[key];
    if (isTable(next)) {
      at = next;
    } else {
      const made: TomlTable = {};
      at[key] = made;
      at = made;
    }
  }
  return at;
}

/** Without the prototypes and hidden fields that the library gives dates. */
function plain(value: unknown): unknown {
  if (value instanceof Date) return `${value.constructor.name} ${value.toISOString()}`;
  if (Array.isArray(value)) return value.map(plain);
  if (!isTable(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** How many lines of the text before are not in the text after, in their order. */
function lostLines(before: string, after: string): number {
  const rest = after.split('\n');
  let from = 0;
  let lost = 0;
  for (const line of before.split('\n')) {
    const at = rest.indexOf(line, from);
    if (at < 0) lost++;
    else from = at + 1;
  }
  return lost;
}
