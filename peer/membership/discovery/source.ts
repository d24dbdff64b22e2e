/** One way to learn of addresses where members may be: a list, names, the local network. */
export interface DiscoverySource {
  readonly name: string;
  /** @param found called with all multiaddrs that the source knows now, as often as they change. */
  start(found: (addresses: readonly string[]) => void): void;
  /** There is trouble: look again soon. */
  refresh(): void;
  stop(): void;
}

/** A name to its addresses; an empty list when nobody knows it. Bounded in time by the caller. */
export type ResolveName = (host: string) => Promise<readonly string[]>;
