import type { Digest } from '../../../src/blob/digest.ts';
import type { Span } from '../../../src/blob/span.ts';
import { parseByteRanges, parseContentRange } from '../../support/byteranges.ts';
import { answerChallenge, type Login, parseChallenge } from './support/challenge.ts';
import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { type Fields, goRequest } from './support/requests.ts';
import type { Place, WireAnswer } from './support/wire.ts';

/** `chunk_size`: requests are aligned to it, so that the last one goes past the end of the blob. */
export const CHUNK_BYTES = 50_000;

export interface StargzOptions {
  readonly place: Place;
  readonly host: string;
  readonly repository: string;
  readonly login?: Login | undefined;
  /** `header` of the mirror's table. */
  readonly fields?: Fields;
  /** Since 09a22068, which no release has yet. */
  readonly namespace?: string;
}

/** One layer of stargz-snapshotter (clients.md 6.1). */
export class StargzLayer implements Disposable {
  readonly #options: StargzOptions;
  readonly #connections: Connections;
  readonly #digest: Digest;
  #authorization: string | undefined;
  #isSingle = false;

  constructor(digest: Digest, options: StargzOptions) {
    this.#digest = digest;
    this.#options = options;
    this.#connections = new Connections(options.place);
  }

  /** At mount: `bytes=0-1`, then HEAD for the size. A 3xx would take all that follows away from the mirror. */
  async mount(): Promise<number> {
    const probe = await this.#ask('GET', { Range: 'bytes=0-1' });
    demand(probe.status >= 200 && probe.status < 300, `the probe: ${probe.status}`, probe.status);
    const answer = await this.#ask('HEAD', {});
    demand(answer.status === 200, `HEAD: ${answer.status}`, answer.status);
    const length = answer.header('content-length');
    demand(length !== undefined, 'HEAD without a length');
    return Number(length);
  }

  /** Every 60 s of use. */
  async check(): Promise<void> {
    const { status } = await this.#ask('GET', { Range: 'bytes=0-1' });
    demand(status === 200 || status === 206, `the check: ${status}`, status);
  }

  /** Chunks of a file by number, neighbours squashed; bytes by their span. */
  async fetch(chunks: readonly number[]): Promise<Map<Span, Buffer>> {
    const spans = squash(chunks);
    const asked = this.#isSingle ? [superRange(spans)] : spans;
    const ranges = asked.map(({ start, end }) => `${start}-${end - 1}`).join(',');
    const answer = await this.#ask('GET', { Range: `bytes=${ranges}` });
    if (answer.status === 400 && !this.#isSingle) {
      this.#isSingle = true;
      return this.fetch(chunks);
    }
    demand(answer.status === 206, `a read: ${answer.status}`, answer.status);
    demand(answer.end === 'whole', 'a read broke off');
    const type = answer.header('content-type');
    demand(type !== undefined && /^[\w.+-]+\/[\w.+-]+/.test(type), 'no media type');
    if (!type.startsWith('multipart/')) {
      const range = parseContentRange(answer.header('content-range'));
      demand(range?.size !== undefined, 'a part of an unknown size');
      demand(range.span.start % CHUNK_BYTES === 0, 'not at a chunk');
      const { start, end } = superRange(spans);
      demand(
        range.span.start <= start && range.span.end >= Math.min(end, range.size),
        'not all that was asked for',
      );
      return new Map([[range.span, answer.body]]);
    }
    const parts = parseByteRanges(type, answer.body);
    demand(parts.length === asked.length, `failed to fetch region: ${parts.length} of ${asked.length}`);
    for (const { size, contentType } of parts)
      demand(size !== undefined && contentType !== undefined, 'a bare part');
    return new Map(parts.map(({ span, bytes }) => [span, bytes]));
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  async #ask(method: string, fields: Fields): Promise<WireAnswer> {
    const { host, login, namespace, repository } = this.#options;
    const query = namespace === undefined ? '' : `?ns=${encodeURIComponent(namespace)}`;
    const target = `/v2/${repository}/blobs/${this.#digest}${query}`;
    const send = (): Promise<WireAnswer> => {
      const all = {
        ...this.#options.fields,
        'Accept-Encoding': 'identity',
        ...fields,
        Authorization: this.#authorization,
      };
      const userAgent = 'containerd-stargz-grpc/v0.18.2';
      return this.#connections.ask(goRequest({ method, target, host, userAgent, fields: all }), { method });
    };
    const answer = await send();
    if (answer.status !== 401) return answer;
    const challenge = parseChallenge(answer.header('www-authenticate'));
    demand(challenge !== undefined, '401 without a challenge', 401);
    this.#authorization = await answerChallenge(challenge, `repository:${repository}:pull`, login);
    return send();
  }
}

function squash(chunks: readonly number[]): Span[] {
  const spans: Span[] = [];
  for (const chunk of [...chunks].sort((a, b) => a - b)) {
    const start = chunk * CHUNK_BYTES;
    const last = spans.at(-1);
    if (last?.end === start) spans.splice(-1, 1, { start: last.start, end: start + CHUNK_BYTES });
    else spans.push({ start, end: start + CHUNK_BYTES });
  }
  return spans;
}

function superRange(spans: readonly Span[]): Span {
  return { start: spans[0]?.start ?? 0, end: spans.at(-1)?.end ?? 0 };
}
