export * from '../../../src/proxy/pings.ts';

export function isPingPath(_url: string): boolean {
  return false;
}
