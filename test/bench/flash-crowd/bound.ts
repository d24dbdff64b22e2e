/** Bytes per second; Infinity where nothing limits it. */
export interface CrowdRates {
  readonly originUp: number;
  readonly nodeUp: number;
  readonly nodeDown: number;
}

export interface Crowd {
  readonly bytes: number;
  /** Nodes that want all of them. */
  readonly readers: number;
  /** Nodes that can pass them on, the readers among them. */
  readonly uploaders: number;
}

/**
 * No way to distribute the bytes is faster, in seconds (fluid limit, Kumar and Ross): each must leave the origin once,
 * each reader must take them all, and all copies together must come over all uplinks.
 */
export function boundSeconds({ bytes, readers, uploaders }: Crowd, rates: CrowdRates): number {
  const { nodeDown, nodeUp, originUp } = rates;
  return Math.max(bytes / originUp, bytes / nodeDown, (readers * bytes) / (originUp + uploaders * nodeUp));
}

/** The same where no node passes anything on. */
export function originOnlySeconds({ bytes, readers }: Crowd, { nodeDown, originUp }: CrowdRates): number {
  return Math.max((readers * bytes) / originUp, bytes / nodeDown);
}
