import { type Namespaced, takeNamespace as right } from '../../../src/proxy/namespace.ts';

export * from '../../../src/proxy/namespace.ts';

export function takeNamespace(url: string): Namespaced {
  return { ...right(url), target: url };
}
