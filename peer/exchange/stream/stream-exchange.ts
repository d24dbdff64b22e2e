import type { Stream } from '@libp2p/interface';
import { DamselflyError } from '../../../src/errors.ts';
import type { ExchangeHandlers } from '../../exchange.ts';
import type { Member, PeerId } from '../../member.ts';
import { Caller, type CallerParts } from '../caller.ts';
import type { Lane } from '../caller-pool.ts';
import { refusedBy, unreachable } from '../channel.ts';
import type { ExchangeParts } from '../exchange-parts.ts';
import { FRAME, type FrameHead, frame } from '../frame.ts';
import { FrameReader, type FrameSink } from '../frame-reader.ts';
import {
  decodeHello,
  decodeRefusal,
  encodeHello,
  encodeRefusal,
  PROTOCOL_VERSION,
  type RefusalReason,
} from '../hello.ts';
import { PooledExchange } from '../pooled-exchange.ts';
import { broken } from '../wire.ts';
import { StreamChannel } from './stream-channel.ts';
import type { Streams } from './streams.ts';

/** A refusal has so long to reach the other side. */
const REFUSAL_MS = 1_000;

/** The same frames over libp2p streams (4006). Who is a member was settled below: the hello tells the version only. */
export class StreamExchange extends PooledExchange {
  readonly #streams: Streams;
  readonly #greeting = new Set<StreamChannel>();
  #isClosed = false;

  constructor(options: ExchangeParts & { readonly streams: Streams }) {
    super('libp2p', options);
    this.#streams = options.streams;
  }

  listen(handlers: ExchangeHandlers): void {
    this.#streams.onStream((from, stream) => this.#arrived(from, stream, handlers));
  }

  override async close(): Promise<void> {
    this.#isClosed = true;
    for (const channel of this.#greeting) channel.destroy();
    await super.close();
  }

  protected async connect(to: Member, parts: CallerParts, signal: AbortSignal, lane: Lane): Promise<Caller> {
    const stream = await this.#streams.open(to, lane, signal);
    return new Promise((resolve, reject) => {
      const greeting = new Greeting((head, body) => {
        if (head.type === FRAME.refusal) {
          const reason = decodeRefusal(body);
          if (reason === 'full') throw unreachable('it has as many connections as it takes');
          throw refusedBy(`it refused us (${reason})`);
        }
        const { version } = decodeHello(body);
        if (version !== PROTOCOL_VERSION) throw refusedBy(`it speaks version ${version}`);
        signal.removeEventListener('abort', abort);
        const caller = new Caller(channel, reader, parts);
        channel.handOver((error) => caller.closed(error));
        resolve(caller);
      });
      const reader = new FrameReader(greeting);
      const channel = new StreamChannel({
        peer: to.id,
        stream,
        reader,
        stallMs: this.limits.stallMs,
        onClose: (error) => {
          signal.removeEventListener('abort', abort);
          reject(signal.aborted ? signal.reason : error);
        },
      });
      const abort = (): void => channel.destroy();
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
      channel.send(frame(FRAME.hello, 0, encodeHello([])));
    });
  }

  #arrived(from: PeerId, stream: Stream, handlers: ExchangeHandlers): void {
    if (this.#isClosed || this.#greeting.size >= this.limits.maxUnproven) {
      stream.abort(
        unreachable(this.#isClosed ? 'the exchange has been closed' : 'too many are greeted at once'),
      );
      return;
    }
    const refuse = (reason: RefusalReason): void => {
      this.refusals.note('in', reason, from);
      channel.send(frame(FRAME.refusal, 0, encodeRefusal(reason)));
      channel.finish(REFUSAL_MS);
    };
    const greeting = new Greeting((head, body) => {
      if (head.type !== FRAME.hello) throw broken('its first frame is no hello');
      if (decodeHello(body).version !== PROTOCOL_VERSION) refuse('version');
      else if (this.isCutOff(from)) refuse('quarantined');
      else if (!this.answering.makeRoom()) refuse('full');
      else {
        over();
        channel.send(frame(FRAME.hello, 0, encodeHello([])));
        this.letIn(reader, handlers, (onClose) => {
          channel.handOver((error) => {
            if (error.code === 'peer-broken') this.refusals.note('in', 'protocol', from, error.message);
            onClose(error);
          });
          return channel;
        });
      }
    });
    const late = setTimeout(() => {
      this.refusals.note('in', 'timeout', from);
      channel.destroy();
    }, this.limits.handshakeMs);
    const over = (): void => {
      clearTimeout(late);
      this.#greeting.delete(channel);
    };
    const reader = new FrameReader(greeting);
    const channel: StreamChannel = new StreamChannel({
      peer: from,
      stream,
      reader,
      stallMs: this.limits.stallMs,
      onClose: (error) => {
        over();
        if (error instanceof DamselflyError && error.code === 'peer-broken')
          this.refusals.note('in', 'protocol', from, error.message);
      },
    });
    this.#greeting.add(channel);
  }
}

/** Takes the first frame of the other side. */
class Greeting implements FrameSink {
  readonly #onFirst: (head: FrameHead, body: Buffer) => void;

  constructor(onFirst: (head: FrameHead, body: Buffer) => void) {
    this.#onFirst = onFirst;
  }

  onFrame(head: FrameHead, body: Buffer): void {
    this.#onFirst(head, body);
  }

  dataTarget(): null {
    throw broken('bytes before a hello');
  }

  onData(): void {
    // Never called: no data frame has a beginning here.
  }
}
