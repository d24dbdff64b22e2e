import type { z } from 'zod';
import { defaulted, section } from '../field.ts';
import { path } from '../readers.ts';
import { SIZE_EXPECTED, sizeInBytes } from '../size.ts';

const cacheShape = {
  dir: defaulted({
    description: 'The only directory that the node writes to. One node per directory.',
    default: '/var/lib/damselfly',
    expected: 'the path of a directory',
    read: path,
  }),
  maxBytes: defaulted({
    description: 'Allocated bytes of everything under dir; the least recently read is evicted first.',
    default: '64GiB',
    expected: SIZE_EXPECTED,
    read: sizeInBytes,
  }),
  minFree: defaulted({
    description: 'Bytes that stay free on the file system of dir, whatever maxBytes says.',
    default: '1GiB',
    expected: SIZE_EXPECTED,
    read: sizeInBytes,
  }),
  memoryBytes: defaulted({
    description: 'Pieces kept in memory besides the disk; 0 for none.',
    default: '64MiB',
    expected: SIZE_EXPECTED,
    read: sizeInBytes,
  }),
};

export const cacheSection = section(cacheShape, 'The store.');

export interface CacheConfig {
  readonly dir: string;
  readonly maxBytes: number;
  readonly minFreeBytes: number;
  readonly memoryBytes: number;
}

export function cacheConfig(keys: z.output<typeof cacheSection>): CacheConfig {
  const { minFree, ...rest } = keys;
  return { ...rest, minFreeBytes: minFree };
}
