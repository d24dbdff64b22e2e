import type { Span } from '../../../src/blob/span.ts';

/** What a client is told to read. */
export interface ReadJob {
  /** Of the blob, at a node. */
  readonly url: string;
  readonly blob: { readonly size: number; readonly seed: number | string };
  /**
   * Reads one after another on a connection of their own, all lanes at once; null is the whole blob in one GET, which
   * is hashed, spans are compared byte by byte.
   */
  readonly lanes: readonly (readonly (Span | null)[])[];
  /** Milliseconds of the epoch. */
  readonly startAtMs: number;
  /** From the start. */
  readonly timeoutMs: number;
}

export interface ReadOutcome {
  /** Milliseconds of the epoch. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Body bytes that came, those of repeated requests too. */
  readonly bytes: number;
  /** Of spans. */
  readonly wrongBytes: number;
  /** What came of reads of the whole blob, from its beginning. */
  readonly wholes: readonly { readonly bytes: number; readonly digest: string }[];
  /** Of each read, from its first request to its first body byte. */
  readonly firstByteMs: readonly number[];
  /** Requests that failed and were sent again: of a span as it was, of the whole for the rest. */
  readonly retries: number;
  /** Why it is not complete; null when it is. */
  readonly failure: string | null;
}

/** One line of JSON each way: a command with an id, then `{id, result}` or `{id, error}`. */
export type AgentCommand =
  | { readonly do: 'fetch'; readonly url: string; readonly timeoutMs: number }
  | { readonly do: 'read'; readonly job: ReadJob }
  /** Body bytes that came in all reads so far. */
  | { readonly do: 'progress' }
  /** Ends every read under way. */
  | { readonly do: 'abandon' };

export interface FetchResult {
  readonly status: number;
  readonly body: string;
}
