export * from '../../../src/observe/client-kind.ts';

export function clientKind(): 'other' {
  return 'other';
}
