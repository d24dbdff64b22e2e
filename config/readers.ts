import { resolve } from 'node:path';
import { REFUSED, type Reader } from './field.ts';

export function text(value: unknown): string | typeof REFUSED {
  return typeof value === 'string' && value !== '' ? value : REFUSED;
}

/** Also accepts the words as text, which is all that an environment variable or a flag can give. */
export function flag(value: unknown): boolean | typeof REFUSED {
  if (typeof value === 'boolean') return value;
  if (value === 'true') return true;
  if (value === 'false') return false;
  return REFUSED;
}

export function wholeNumber(min: number, max: number): Reader<number> {
  return (value) => {
    const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isInteger(number)) return REFUSED;
    return number >= min && number <= max ? number : REFUSED;
  };
}

export function oneOf<const Word extends string>(words: readonly Word[]): Reader<Word> {
  return (value) => words.find((word) => word === value) ?? REFUSED;
}

/** A path; relative ones count from the working directory. A key's contents pasted here are refused by their newline. */
export function path(value: unknown): string | typeof REFUSED {
  if (typeof value !== 'string' || value === '' || /[\n\0]/.test(value)) return REFUSED;
  return resolve(value);
}

/** One value or a list of them; a lone value is a list of one. */
export function manyOf<T>(read: Reader<T>, options: { min: 0 | 1 }): Reader<readonly T[]> {
  return (value) => {
    const values: unknown[] = Array.isArray(value) ? value : [value];
    if (values.length < options.min) return REFUSED;
    const results: T[] = [];
    for (const one of values) {
      const result = read(one);
      if (result === REFUSED) return REFUSED;
      results.push(result);
    }
    return results;
  };
}
