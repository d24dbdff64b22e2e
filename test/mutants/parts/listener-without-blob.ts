export * from '../../../src/proxy/entrance.ts';

export function boundBlob(): undefined {
  return undefined;
}
