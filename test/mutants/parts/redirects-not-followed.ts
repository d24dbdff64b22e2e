import type { RawHeaders } from '../../../src/origin/headers.ts';
import type { Followed } from '../../../src/origin/redirects.ts';
import type { Reply } from '../../../src/origin/reply.ts';

export * from '../../../src/origin/redirects.ts';

export async function follow(
  url: string,
  headers: { readonly common: RawHeaders; readonly credential: RawHeaders },
  ask: (url: string, headers: RawHeaders) => Promise<Reply>,
): Promise<Followed> {
  return { reply: await ask(url, [...headers.common, ...headers.credential]), url, moved: false };
}
