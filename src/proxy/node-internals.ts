import type { Socket } from 'node:net';

/**
 * The few things that node:net and node:http do not offer in public and that the data path needs. They have been there
 * for years; each answer is checked here, so that a Node without them only loses the fast path.
 */
interface Internals {
  readonly _handle?: { readonly fd?: unknown; readonly writeQueueSize?: unknown } | null;
  readonly _httpMessage?: { readonly headersSent?: unknown } | null;
  readonly encrypted?: unknown;
}

function internals(socket: Socket): Internals {
  return socket as unknown as Internals;
}

/** The file descriptor of an open, unencrypted socket; undefined when bytes must go through the stream. */
export function socketFd(socket: Socket): number | undefined {
  const { _handle: handle, encrypted } = internals(socket);
  if (encrypted === true || typeof handle?.fd !== 'number' || handle.fd < 0) return undefined;
  return handle.fd;
}

/** Bytes that the kernel has not taken yet, or undefined. It falls while a slow client reads within one write. */
export function queuedBytes(socket: Socket): number | undefined {
  const size = internals(socket)._handle?.writeQueueSize;
  return typeof size === 'number' ? size : undefined;
}

/** True for plain TCP, which alone can be reset; not for TLS and unix sockets. */
export function isTcp(socket: Socket): boolean {
  return internals(socket).encrypted !== true && socket.remoteFamily !== undefined;
}

/** Whether a response on this connection is under way: then a status for something else must not be written into it. */
export function isAnswering(socket: Socket): boolean {
  const { _httpMessage: message } = internals(socket);
  return message !== undefined && message !== null;
}
