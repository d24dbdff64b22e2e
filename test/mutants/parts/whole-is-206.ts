import { type RangeAnswer, type RangeRequest, resolveRange as right } from '../../../src/proxy/range.ts';

export * from '../../../src/proxy/range.ts';

export function resolveRange(request: RangeRequest, size: number): RangeAnswer {
  return request.kind === 'none' ? { kind: 'spans', spans: [{ start: 0, end: size }] } : right(request, size);
}
