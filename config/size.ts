import { REFUSED } from './field.ts';

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

export const SIZE_EXPECTED = 'a size such as 64MiB or 1.5GB; a plain number is bytes';
export const RATE_EXPECTED = 'a rate such as 100MiB/s; a plain number is bytes per second, 0 means no limit';

/**
 * `64MiB`, `64Mi` and `64MB` (decimal) in any case; a plain number is bytes. `64M` is refused, because readers do not
 * agree on what it means.
 * @returns whole bytes.
 */
export function sizeInBytes(value: unknown): number | typeof REFUSED {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : REFUSED;
  if (typeof value !== 'string') return REFUSED;
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim());
  if (match === null) return REFUSED;
  const [, amount = '', unit = ''] = match;
  const factor = unit === '' ? 1 : UNITS[unit.toLowerCase()];
  if (factor === undefined || (factor === 1 && amount.includes('.'))) return REFUSED;
  const bytes = Math.round(Number(amount) * factor);
  return Number.isSafeInteger(bytes) ? bytes : REFUSED;
}

/** `100MiB/s`, or a size per second without saying so. @returns bytes per second, Infinity for 0 (no limit). */
export function bytesPerSecond(value: unknown): number | typeof REFUSED {
  const bytes = sizeInBytes(typeof value === 'string' ? value.replace(/\/s$/i, '') : value);
  return bytes === 0 ? Number.POSITIVE_INFINITY : bytes;
}
