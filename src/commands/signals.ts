/**
 * Aborts once on the first SIGINT or SIGTERM. A terminal's Ctrl-C reaches the whole process group and npm passes its
 * own copy on, so several signals are one wish.
 */
export function stopSignal(): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new StoppedBySignal());
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    signal: controller.signal,
    dispose() {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}

export class StoppedBySignal extends Error {
  constructor() {
    super('stopped by a signal');
    this.name = 'StoppedBySignal';
  }
}
