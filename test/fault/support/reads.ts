import assert from 'node:assert/strict';
import { eventually } from '../../support/eventually.ts';
import { type HttpAnswer, httpGet } from '../../support/http-get.ts';
import { seededBytes, type TestBlob, type TestOrigin } from '../../support/origin.ts';

export const MIB = 1 << 20;

/** How sequential readers ask: in one request, as containerd and stargz do, as nydusd does at its smallest. */
export const STEPS: readonly (readonly [by: string, step: number | undefined])[] = [
  ['one request', undefined],
  ['ranges of 1 MiB', MIB],
  ['ranges of 64 KiB', 64 * 1024],
];

export interface SeededBlob extends TestBlob {
  readonly seed: string;
}

export function addBlob(origin: TestOrigin, seed: string, size: number): SeededBlob {
  return { ...origin.repository('lab/fault').addBlob({ size, seed }), seed };
}

/** One read, its bytes compared as they come; `undefined` as range is the whole blob. Whatever the answer was. */
export async function read(
  url: string,
  blob: SeededBlob,
  range?: { readonly start: number; readonly end: number },
): Promise<HttpAnswer> {
  let at = range?.start ?? 0;
  let isBody = false;
  const answer = await httpGet(url + blob.path, {
    headers: range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` },
    timeoutMs: 40_000,
    onHead: ({ statusCode }) => {
      isBody = statusCode === (range === undefined ? 200 : 206);
    },
    onChunk: (chunk) => {
      if (!isBody) return;
      const right = seededBytes(blob.seed, { start: at, end: at + chunk.length });
      assert.ok(chunk.equals(right), `wrong bytes in ${at}-${at + chunk.length} of ${blob.seed}`);
      at += chunk.length;
    },
  });
  const wanted = (range?.end ?? blob.size) - (range?.start ?? 0);
  if (isBody && answer.complete) assert.equal(answer.bytes, wanted, 'ended short and clean');
  assert.ok(isBody || answer.status >= 500, `status ${answer.status}`);
  return answer;
}

/** As {@link read}, and nothing but the whole and right answer will do. */
export async function readRight(...args: Parameters<typeof read>): Promise<HttpAnswer> {
  const answer = await read(...args);
  assert.ok(answer.complete && answer.status < 300, `${answer.status}, ${answer.bytes} bytes`);
  return answer;
}

/** @param step bytes of each range; undefined: one read without a range. */
export async function readThrough(url: string, blob: SeededBlob, step?: number): Promise<void> {
  if (step === undefined) await readRight(url, blob);
  else
    for (let start = 0; start < blob.size; start += step)
      await readRight(url, blob, { start, end: Math.min(blob.size, start + step) });
}

/** Bytes of blobs that the origin has sent since it was reset, once no more are coming. */
export async function sentBy(origin: TestOrigin): Promise<number> {
  let before = -1;
  const { now } = await eventually(
    async () => {
      await origin.idle();
      const sent = origin.bytesSent();
      const isSame = sent === before;
      before = sent;
      return isSame && { now: sent };
    },
    { timeoutMs: 15_000, everyMs: 100 },
  );
  return now;
}

/** What `work` made the origin send, in sizes of the blob. */
export async function costOf(
  origin: TestOrigin,
  blob: SeededBlob,
  work: () => Promise<unknown>,
): Promise<number> {
  await sentBy(origin);
  origin.reset();
  await work();
  return (await sentBy(origin)) / blob.size;
}

/** The value of a series without labels, or with exactly these: `name{label="value"}`. */
export async function metric(metricsHost: string | undefined, series: string): Promise<number> {
  const text = (await httpGet(`http://${metricsHost}/metrics`)).body.toString();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? Number.NaN);
}
