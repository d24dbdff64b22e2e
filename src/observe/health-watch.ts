import { EventLoopLag } from './event-loop-lag.ts';
import type { Health } from './health.ts';
import type { Metrics } from './metrics.ts';
import { filesNearlyExhausted, openFilesLimit } from './open-files.ts';

/** Above it a ping takes so long that nydusd gives up on its other requests too. */
const STUCK_LAG_MS = 1000;
/** Descriptors are looked at once a second: every so many lag probes. */
const LAG_PROBES_PER_FILES_PROBE = 4;

export interface HealthWatch {
  stop(): void;
}

/** Starts the probes that feed `health`. Its timer does not keep the process alive. */
export function watchHealth(options: {
  health: Health;
  metrics: Metrics;
  intervalMs?: number;
  monotonicMs?: () => number;
  filesExhausted?: () => boolean;
}): HealthWatch {
  const limit = openFilesLimit();
  const filesExhausted = options.filesExhausted ?? (() => filesNearlyExhausted(limit));
  let probes = 0;
  const lag = new EventLoopLag({
    metrics: options.metrics,
    intervalMs: options.intervalMs,
    monotonicMs: options.monotonicMs,
    onLag: (lagMs) => {
      options.health.report('event-loop', lagMs <= STUCK_LAG_MS);
      if (probes++ % LAG_PROBES_PER_FILES_PROBE === 0) options.health.report('open-files', !filesExhausted());
    },
  });
  lag.start();
  return { stop: () => lag.stop() };
}
