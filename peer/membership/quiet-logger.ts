import type { ComponentLogger, Logger } from '@libp2p/interface';

const nothing = (): undefined => undefined;
const quiet: Logger = Object.assign(nothing, {
  enabled: false,
  error: nothing,
  trace: nothing,
  newScope: (): Logger => quiet,
});

/** libp2p logs each frame and each stream; even its disabled logger formats names for them. What matters comes as errors. */
export const quietLogger: ComponentLogger = { forComponent: () => quiet };
