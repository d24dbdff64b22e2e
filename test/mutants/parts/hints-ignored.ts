import type { Hints } from '../../../src/proxy/hints.ts';

export * from '../../../src/proxy/hints.ts';

export function parseHints(): Hints {
  return { urgency: 'demand', prefetch: false, useP2p: false };
}
