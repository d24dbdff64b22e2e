import type { Span } from '../../src/blob/span.ts';
import { Random } from '../support/random.ts';
import { readTrace, traceSpan } from '../support/trace.ts';

/**
 * What a container that starts reads of its image: the end of the blob first (the chunk table), then short runs here
 * and there. The lengths are those that a real nydusd asked for.
 * @param share of the blob to read, about.
 */
export async function lazyPlan(blobSize: number, share: number): Promise<Span[]> {
  const trace = await readTrace('nydusd-2.2.0-rafs6-whole-tree');
  const lengths = trace.requests.map((request) => {
    const { start, end } = traceSpan(request, trace.blobSize);
    return end - start;
  });
  const random = new Random('lazy');
  const length = () => Math.min(lengths[random.integer(0, lengths.length)] ?? 0, Math.ceil(blobSize / 16));
  const plan: Span[] = [{ start: Math.max(0, blobSize - Math.ceil(blobSize / 50)), end: blobSize }];
  let planned = 0;
  while (planned < blobSize * share) {
    let start = random.integer(0, blobSize);
    const run = random.integer(1, 4);
    for (let i = 0; i < run && start < blobSize; i++) {
      const end = Math.min(start + length(), blobSize);
      plan.push({ start, end });
      planned += end - start;
      start = end;
    }
  }
  return plan;
}
