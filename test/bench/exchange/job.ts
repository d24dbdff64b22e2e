/** How pieces move in this process pair. */
export type Way = 'exchange' | 'plain' | 'plain onread';

/** To the holder, once. */
export interface HolderSetup {
  readonly role: 'holder';
  readonly way: Way;
  /** PEM of the identity, and the block of the network key; plain TLS uses the same certificate. */
  readonly identity: string;
  readonly networkKey: string;
}

/** To the reader, once. */
export interface ReaderSetup {
  readonly role: 'reader';
  readonly way: Way;
  readonly identity: string;
  readonly networkKey: string;
  readonly holder: { readonly id: string; readonly port: number };
  /** Written over and over. */
  readonly file: string;
}

/** To the reader, for each measurement. */
export interface ReadJob {
  readonly role: 'read';
  readonly pieces: number;
  /** Pieces asked for at once. */
  readonly window: number;
}

export interface ReadResult {
  readonly bytes: number;
  readonly seconds: number;
}
