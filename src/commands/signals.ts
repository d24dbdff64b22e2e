/**
 * Aborts on the first SIGINT or SIGTERM. A terminal's Ctrl-C reaches the whole process group and npm passes its own copy
 * on, so several signals are one wish: the handlers stay until the process ends, or a late one would kill it in the
 * middle of cleaning up. They do not keep it alive.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new StoppedBySignal());
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return controller.signal;
}

export class StoppedBySignal extends Error {
  constructor() {
    super('stopped by a signal');
    this.name = 'StoppedBySignal';
  }
}
