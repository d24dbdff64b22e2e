import { type Ingress, type RawRequest, parseIngress as right } from '../../../src/proxy/ingress.ts';

export * from '../../../src/proxy/ingress.ts';

export function parseIngress(request: RawRequest): Ingress {
  const ingress = right(request);
  if (!('target' in ingress)) return ingress;
  const { pathname, search } = new URL(ingress.target, 'http://any.example');
  return { ...ingress, target: pathname + search };
}
