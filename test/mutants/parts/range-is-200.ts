export * from '../../../src/proxy/range.ts';

export function parseRangeBeforeSize(): { kind: 'none' } {
  return { kind: 'none' };
}
