import type { Line } from './wire.ts';

/** Lines of a request in the order in which they are sent; undefined values are left out. */
export type Fields = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A request head, byte for byte. */
export function head(method: string, target: string, lines: readonly Line[]): string {
  return `${method} ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

export function linesOf(fields: Fields): Line[] {
  return Object.entries(fields).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one): Line => [name, one]),
  );
}

export interface GoRequest {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  readonly userAgent: string;
  readonly fields?: Fields;
}

/**
 * As Go's net/http writes it: Host, User-Agent, then the caller's lines in the order of their names, and last what the
 * transport adds when the caller said nothing of encodings and asked for no range.
 */
export function goRequest({ method, target, host, userAgent, fields = {} }: GoRequest): string {
  const own = linesOf(fields).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const names = new Set(own.map(([name]) => name));
  const isPlain = method !== 'HEAD' && !names.has('Accept-Encoding') && !names.has('Range');
  const added: Line[] = isPlain ? [['Accept-Encoding', 'gzip']] : [];
  return head(method, target, [['Host', host], ['User-Agent', userAgent], ...own, ...added]);
}
