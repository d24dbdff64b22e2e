import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import type { Chunk, FileSlice } from '../../../src/blob/source.ts';
import type { BodyOptions, BodyResult, BodyWriter } from '../../../src/proxy/body-writer.ts';
import { type Listening, listening } from '../../support/listening.ts';
import { seededBytes } from '../../support/origin/content.ts';
import { tempFolder } from '../../support/temp-folder.ts';

/** A file with bytes that look random, whose slices count how often they were given back. */
export class SlicedFile {
  readonly bytes: Buffer;
  readonly #fd: number;
  #lent = 0;

  private constructor(bytes: Buffer, fd: number) {
    this.bytes = bytes;
    this.#fd = fd;
  }

  static async make(t: Pick<TestContext, 'after'>, size: number): Promise<SlicedFile> {
    const folder = await tempFolder(t);
    const bytes = seededBytes(`slices of ${size}`, { start: 0, end: size });
    writeFileSync(folder.file('bytes'), bytes);
    const fd = openSync(folder.file('bytes'), 'r');
    t.after(() => closeSync(fd));
    return new SlicedFile(bytes, fd);
  }

  /** Slices that were handed out and not given back. */
  get lent(): number {
    return this.#lent;
  }

  slice(start: number, end: number): FileSlice {
    this.#lent += 1;
    let released = false;
    return {
      fd: this.#fd,
      offset: start,
      length: end - start,
      release: () => {
        assert.ok(!released, 'a slice is released once');
        released = true;
        this.#lent -= 1;
      },
    };
  }

  part(start: number, end: number): Uint8Array {
    return this.bytes.subarray(start, end);
  }
}

/** A source with everything in sight: what was taken of it, and whether it was given back. */
export class Source implements AsyncIterable<Chunk> {
  readonly #items: readonly (() => Chunk | Promise<Chunk>)[];
  taken = 0;
  returned = 0;

  /** @param items made when they are asked for; after the last one the source is at its end. */
  constructor(items: readonly (() => Chunk | Promise<Chunk>)[]) {
    this.#items = items;
  }

  [Symbol.asyncIterator](): AsyncIterator<Chunk> {
    return {
      next: async () => {
        const item = this.#items[this.taken];
        if (item === undefined) return { done: true, value: undefined };
        this.taken += 1;
        return { done: false, value: await item() };
      },
      return: async () => {
        this.returned += 1;
        return { done: true, value: undefined };
      },
    };
  }
}

export interface BodyServer extends Listening {
  readonly server: Server;
  /** How the bodies ended, in order of their ends. */
  readonly results: BodyResult[];
  /** The next end. */
  ended(): Promise<BodyResult>;
}

/**
 * A server that answers every request with a body of `bodyFor`.
 * @param bodyFor gets the request's path.
 */
export async function bodyServer(
  t: Pick<TestContext, 'after'>,
  writeBody: BodyWriter,
  bodyFor: (path: string, response: ServerResponse) => { source: AsyncIterable<Chunk> } & BodyOptions,
  server: Server = createServer(),
): Promise<BodyServer> {
  const results: BodyResult[] = [];
  let waiting: ((result: BodyResult) => void) | undefined;
  server.on('request', (request, response: ServerResponse) => {
    const { source, ...options } = bodyFor(request.url ?? '', response);
    const writeHead = () => response.writeHead(200, ['Content-Length', String(options.length)]);
    void writeBody(response, source, { writeHead, ...options }).then((result) => {
      if (result.outcome !== 'sent' && !result.headSent && !response.destroyed) {
        response.writeHead(502, ['Content-Length', '0']);
        response.end();
      }
      results.push(result);
      waiting?.(result);
    });
  });
  const listener = await listening(server);
  t.after(listener.close);
  const ended = () => {
    const { promise, resolve } = Promise.withResolvers<BodyResult>();
    waiting = resolve;
    return promise;
  };
  return { ...listener, server, results, ended };
}
