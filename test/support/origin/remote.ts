import type { FaultAction, FaultMatch } from './faults.ts';
import type { RecordFilter, RequestRecord } from './log.ts';
import type { RedirectOptions } from './redirects.ts';
import type { RepositoryOptions } from './repository.ts';
import type { OriginOptions } from './test-origin.ts';

/** What an origin in a process of its own holds from the start. */
export interface OriginSetup extends OriginOptions {
  readonly repositories?: Readonly<Record<string, RepositorySetup>>;
}

export interface RepositorySetup extends RepositoryOptions {
  readonly blobs?: readonly { readonly size: number; readonly seed: number | string }[];
  /** Paths of files that are blobs. */
  readonly files?: readonly string[];
  /** Folders of OCI layouts, by tag. */
  readonly layouts?: Readonly<Record<string, string>>;
}

/** Printed as one line of JSON once the origin listens. */
export interface OriginAnnouncement {
  readonly url: string;
  readonly host: string;
  readonly cdnUrl: string;
  readonly tokenUrl: string;
  readonly pid: number;
  readonly repositories: Readonly<
    Record<
      string,
      {
        readonly blobs: readonly { readonly digest: string; readonly size: number; readonly path: string }[];
        readonly tags: Readonly<Record<string, string>>;
      }
    >
  >;
}

/** A fault that can be sent as JSON: a pattern is the source of a RegExp. */
export interface RemoteFault {
  readonly match?: Omit<FaultMatch, 'where' | 'path'> & { readonly path?: string; readonly pattern?: string };
  readonly action: Omit<FaultAction, 'contentRange' | 'body'> & {
    readonly contentRange?: string;
    readonly body?: string;
  };
}

/** One line of JSON each way: a command with an id, then `{id, result}` or `{id, error}`. */
export type RemoteCommand =
  | { readonly do: 'bytes-sent'; readonly filter?: RecordFilter }
  | { readonly do: 'requests'; readonly filter?: RecordFilter }
  | { readonly do: 'reset' | 'idle' | 'down' | 'up' | 'cut' | 'cpu' | 'expire-tokens' | 'clear-faults' }
  | { readonly do: 'fault'; readonly rule: RemoteFault }
  | { readonly do: 'bandwidth'; readonly bytesPerSecond: number | null }
  | { readonly do: 'redirect'; readonly options: RedirectOptions | null };

export type { RequestRecord };
