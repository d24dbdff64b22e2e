import type { z } from 'zod';
import { namesAt } from './keys.ts';
import { isMapping, type Locate, type Problem } from './layer.ts';
import { nearest } from './near.ts';

/** Names under which people keep secrets. Our own keys of such names hold paths, and those are fine to show. */
const SECRET_NAME = /token|passw|secret|credential|auth|key|cookie/i;

/**
 * A value as a message may show it: short, in quotes, without what may be a secret. Mappings and lists are only
 * named, because what they hold has names of its own.
 */
export function showValue(value: unknown, name: string): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value))
    return value.every((item) => typeof item === 'string') && !SECRET_NAME.test(name)
      ? `[${value
          .slice(0, 5)
          .map((item) => showText(item))
          .join(', ')}${value.length > 5 ? ', …' : ''}]`
      : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return String(value);
  if (SECRET_NAME.test(name) && !/^[\w./-]{1,120}$/.test(value)) return '(not shown)';
  if (SECRET_NAME.test(name) && !/File$/.test(name)) return '(not shown)';
  return showText(value);
}

function showText(value: string): string {
  const masked = value.replace(/\/\/[^/@]*@/, '//…@').replace(/[?].*$/s, '?…');
  return JSON.stringify(masked.length > 120 ? `${masked.slice(0, 120)}…` : masked);
}

/** `proxy.listeners[0].tls` */
function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, step) =>
      typeof step === 'number' ? `${text}[${step}]` : text === '' ? String(step) : `${text}.${String(step)}`,
    '',
  );
}

/** Every issue that the schema found, worded for the person who wrote the value. */
export function problemsOf(error: z.ZodError, values: unknown, locate: Locate): Problem[] {
  return error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys') {
      const name = String(issue.path.findLast((step) => typeof step === 'string') ?? '');
      const value = showValue(valueAt(values, issue.path), name);
      return [
        {
          path: formatPath(issue.path) || 'the configuration',
          message: `is ${value}; expected ${issue.message}`,
          where: locate(issue.path),
        },
      ];
    }
    const known = namesAt(issue.path);
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      const near = nearest(key, known);
      const hint = near === undefined ? '' : `, did you mean ${near}?`;
      return {
        path: formatPath(path),
        message: `unknown key (value ${showValue(valueAt(values, path), key)})${hint}; expected one of ${known.join(', ')}`,
        where: locate(path),
      };
    });
  });
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  let value = values;
  for (const step of path) {
    if (Array.isArray(value) && typeof step === 'number') value = value[step];
    else if (isMapping(value)) value = value[String(step)];
    else return undefined;
  }
  return value;
}
