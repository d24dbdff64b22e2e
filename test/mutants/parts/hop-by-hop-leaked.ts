import type { RawHeaders } from '../../../src/origin/headers.ts';

export * from '../../../src/origin/headers.ts';

/** Host and Connection are the library's own. */
export function forwardableHeaders(headers: RawHeaders): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const [name = '', value = ''] = headers.slice(i, i + 2);
    if (!['host', 'connection', 'keep-alive', 'te'].includes(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}
