import type { RawHeaders } from '../../origin/headers.ts';
import { UsageError } from '../failure.ts';

/** `-H` lines: what only the origin itself may see, and the rest, which also follows redirects. */
export interface UserHeaders {
  readonly credential: RawHeaders;
  readonly common: RawHeaders;
}

const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'cookie']);
/** What the download itself has to say. */
const OURS: Readonly<Record<string, string>> = {
  range: 'use --range',
  'if-range': 'use --range',
  host: 'it is the host of the URL',
  'accept-encoding': 'bytes are taken as they are',
  connection: 'it belongs to the connection',
  'content-length': 'a GET has no body',
  'transfer-encoding': 'a GET has no body',
};

/** @param lines `Name: value` @throws UsageError that shows the name only: the value may be a secret. */
export function parseHeaders(lines: readonly string[]): UserHeaders {
  const credential: string[] = [];
  const common: string[] = [];
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/.exec(line);
    if (match === null)
      throw new UsageError("-H expects 'Name: value', such as -H 'Accept: application/json'");
    const [, name = '', value = ''] = match;
    const why = OURS[name.toLowerCase()];
    if (why !== undefined) throw new UsageError(`-H ${name} cannot be set: ${why}`);
    (CREDENTIALS.has(name.toLowerCase()) ? credential : common).push(name, value.trimEnd());
  }
  return { credential, common };
}

/** `http://user:password@host/…` as curl takes it: Basic, and out of the URL, so that it is shown nowhere. */
export function takeUserInfo(url: URL): RawHeaders {
  if (url.username === '' && url.password === '') return [];
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = '';
  url.password = '';
  return ['Authorization', `Basic ${Buffer.from(pair).toString('base64')}`];
}
