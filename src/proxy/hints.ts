import type { IncomingHttpHeaders } from 'node:http';
import type { UrgencyLevel } from '../blob/urgency.ts';

/** What Dragonfly's request headers ask for besides the bytes. Unknown values are as if the header were not there. */
export interface Hints {
  /** `X-Dragonfly-Priority`: 3 is nydusd's prefetch and 6 its on-demand read; the other levels mean no urgency. */
  readonly urgency: UrgencyLevel;
  /** `X-Dragonfly-Prefetch: true`: the rest of the blob is wanted as well, in the background. */
  readonly prefetch: boolean;
  /** `X-Dragonfly-Use-P2P: true`: this URL is to be kept as an object. */
  readonly useP2p: boolean;
}

export function parseHints(headers: IncomingHttpHeaders): Hints {
  return {
    urgency: headers['x-dragonfly-priority'] === '3' ? 'prefetch' : 'demand',
    prefetch: isTrue(headers['x-dragonfly-prefetch']),
    useP2p: isTrue(headers['x-dragonfly-use-p2p']),
  };
}

function isTrue(value: string | string[] | undefined): boolean {
  return typeof value === 'string' && value.toLowerCase() === 'true';
}
