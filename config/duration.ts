import { REFUSED, type Reader } from './field.ts';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3 };

/** Ten years: for moments that are compared and never waited for. */
export const MAX_AGE_MS: number = 3650 * 86_400e3;

export const DURATION_EXPECTED = 'a time with its unit, such as 500ms, 2.5s, 5m, 1h30m';

/**
 * `2.5s`, `500ms`, `5m`, `1h30m`. The unit may not be left out: seconds and milliseconds are confused too easily.
 * @returns a reader of whole milliseconds between the limits.
 */
export function durationInMs(minMs: number, maxMs: number): Reader<number> {
  return (value) => {
    if (value === 0 || value === '0') return minMs === 0 ? 0 : REFUSED;
    if (typeof value !== 'string') return REFUSED;
    const parts = value.trim().match(/\d+(?:\.\d+)?(?:ms|[smhd])/g) ?? [];
    if (parts.length === 0 || parts.join('') !== value.trim()) return REFUSED;
    let total = 0;
    for (const part of parts) {
      const unit = part.replace(/[\d.]+/, '');
      total += Number.parseFloat(part) * (UNITS[unit] ?? Number.NaN);
    }
    const ms = Math.round(total);
    return ms >= minMs && ms <= maxMs ? ms : REFUSED;
  };
}
