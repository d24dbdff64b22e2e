import type { Digest } from '../../../src/blob/digest.ts';

/** What an address of the origin is for. `cdn` is where blob redirects lead. */
export type Endpoint =
  | 'base'
  | 'blob'
  | 'manifest'
  | 'tags'
  | 'referrers'
  | 'catalog'
  | 'upload'
  | 'token'
  | 'cdn'
  | 'other';

/** One request that came, filled in while it is answered. */
export interface RequestRecord {
  /** 1, 2, 3 … over all listeners of the origin. */
  readonly id: number;
  readonly method: string;
  /** Request target without its query. */
  readonly path: string;
  /** Request target as it came. */
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: 'none' | 'basic' | 'bearer' | 'other';
  /** Name, value, name, value …, in the sender's order and spelling. */
  readonly rawHeaders: readonly string[];
  readonly endpoint: Endpoint;
  readonly repository: string | undefined;
  readonly digest: Digest | undefined;
  /** Counts connections from 1; requests on one kept-alive connection share it. */
  readonly connectionId: number;
  /** Milliseconds since the origin started. */
  readonly atMs: number;
  /** Who the credential belongs to, once checked. */
  user: string | undefined;
  /** 0 until a head was sent. */
  status: number;
  headAtMs: number | undefined;
  endedAtMs: number | undefined;
  /** Body bytes that the kernel took. */
  bytesSent: number;
  /** The connection ended before the answer did, whoever ended it. */
  aborted: boolean;
}

export type RecordFilter = Partial<
  Pick<RequestRecord, 'method' | 'endpoint' | 'repository' | 'digest' | 'path' | 'status' | 'connectionId'>
>;

export function matchesRecord(
  record: RequestRecord,
  filter: RecordFilter | ((record: RequestRecord) => boolean),
): boolean {
  if (typeof filter === 'function') return filter(record);
  return Object.entries(filter).every(
    ([key, value]) => value === undefined || record[key as keyof RecordFilter] === value,
  );
}

/** Repeated header lines of a name, in order. */
export function headerValues(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name.toLowerCase()) values.push(rawHeaders[i + 1] ?? '');
  }
  return values;
}
