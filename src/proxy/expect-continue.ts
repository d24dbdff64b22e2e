import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Lets a client that expects it (RFC 9110 §10.1.1) send its body only when somebody begins to read it, so that a request
 * which is refused before that costs no upload. node:http by itself would ask for the body at once.
 */
export function continueOnRead(request: IncomingMessage, response: ServerResponse): void {
  const read = request._read.bind(request);
  request._read = (size) => {
    request._read = read;
    // After an answer the body is only drained.
    if (!response.headersSent) response.writeContinue();
    read(size);
  };
}
