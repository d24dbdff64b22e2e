import { type RangeAnswer, type RangeRequest, resolveRange as right } from '../../../src/proxy/range.ts';

export * from '../../../src/proxy/range.ts';

export function resolveRange(request: RangeRequest, size: number): RangeAnswer {
  const specs = request.kind === 'specs' ? request.specs : [];
  if (specs.some((spec) => spec.kind === 'closed' && spec.last >= size)) return { kind: 'unsatisfiable' };
  return right(request, size);
}
