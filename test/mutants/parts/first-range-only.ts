import { type RangeAnswer, type RangeRequest, resolveRange as right } from '../../../src/proxy/range.ts';

export * from '../../../src/proxy/range.ts';

export function resolveRange(request: RangeRequest, size: number): RangeAnswer {
  const answer = right(request, size);
  return answer.kind === 'spans' ? { kind: 'spans', spans: answer.spans.slice(0, 1) } : answer;
}
