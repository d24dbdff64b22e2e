import { createWriteStream } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';

/** Writes the body of a 200 into a file. */
export async function downloadTo(url: string, file: string, signal: AbortSignal): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { signal }, resolve).once('error', reject);
  });
  if (response.statusCode !== 200) throw new Error(`${url}: status ${response.statusCode}`);
  await pipeline(response, createWriteStream(file), { signal });
}
