import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { BodyEnded } from '../../src/proxy/body-ended.ts';
import { ClientStream } from '../../src/proxy/client-stream.ts';

const IDLE_MS = 1000;

/** A response whose kernel takes bytes only when told to. */
class SlowResponse extends EventEmitter {
  readonly handle = { writeQueueSize: 100, fd: 5 };
  readonly socket = {
    _handle: this.handle,
    destroyed: false,
    writable: true,
    writableLength: 0,
    writableCorked: 0,
  };
  taken: (() => void) | undefined;

  write(_bytes: Uint8Array, taken: () => void): void {
    this.taken = taken;
  }
}

function slow(): { response: SlowResponse; stream: ClientStream } {
  const response = new SlowResponse();
  return { response, stream: new ClientStream(response as unknown as ServerResponse, IDLE_MS) };
}

describe('a client that takes a write slowly', () => {
  it('is waited for as long as its queue gets shorter within each idle time', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { response, stream } = slow();
    const writing = stream.write(Buffer.alloc(100), false);
    for (const left of [90, 50, 49, 1]) {
      response.handle.writeQueueSize = left;
      t.mock.timers.tick(IDLE_MS);
    }
    response.taken?.();
    await writing;
    assert.equal(stream.bytes, 100);
  });

  it('is gone when it takes nothing for one', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const { response, stream } = slow();
    const writing = stream.write(Buffer.alloc(100), false);
    response.handle.writeQueueSize = 90;
    t.mock.timers.tick(IDLE_MS);
    t.mock.timers.tick(IDLE_MS);
    await assert.rejects(writing, (error) => error instanceof BodyEnded && error.outcome === 'client-gone');
    assert.equal(stream.bytes, 0);
  });

  it('leaves no timer behind', async (t) => {
    const before = process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
    const { response, stream } = slow();
    const writing = stream.write(Buffer.alloc(100), false);
    response.taken?.();
    await writing;
    const interrupted = stream.write(Buffer.alloc(100), false);
    stream.waits.interrupt(new Error('over'));
    await assert.rejects(interrupted, /over/);
    await assert.rejects(stream.write(Buffer.alloc(1), false), /over/);
    t.diagnostic(String(before));
    assert.equal(process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length, before);
  });
});

describe('the descriptor for bytes that go past the stream', () => {
  it('is the one of a socket that has nothing queued', () => assert.equal(slow().stream.directFd(), 5));

  const states: [string, object][] = [
    ['has bytes queued', { writableLength: 1 }],
    ['is corked', { writableCorked: 1 }],
    ['is destroyed', { destroyed: true }],
    ['is ended', { writable: false }],
    ['is closed', { _handle: null }],
    ['is being closed', { _handle: { fd: -1 } }],
    ['is encrypted', { encrypted: true }],
  ];
  for (const [state, change] of states)
    it(`is not given for a socket that ${state}`, () => {
      const { response, stream } = slow();
      Object.assign(response.socket, change);
      assert.equal(stream.directFd(), undefined);
    });
});
