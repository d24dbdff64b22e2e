import type { ServerResponse } from 'node:http';

/**
 * Calls back once when the client goes away before this response has been sent whole, also while the response still
 * waits behind others on its connection. Synchronously, if that has happened already.
 * @returns a function that takes the callback back.
 */
export function onClientGone(response: ServerResponse, callback: () => void): () => void {
  if (response.destroyed && !response.writableFinished) {
    callback();
    return () => undefined;
  }
  const closed = () => {
    if (!response.writableFinished) callback();
  };
  response.once('close', closed);
  return () => response.off('close', closed);
}
