export * from '../../../src/proxy/client-error.ts';

/** Neither an answer nor an end. */
export function answerClientError(): void {
  // The client waits.
}
