import { createHash } from 'node:crypto';
import type { OriginId } from '../src/blob/upstream.ts';
import type { Realm } from './messages.ts';

const REALM_HEX_DIGITS = 16;

/** The realm of an origin's blobs. Every node computes the same one, and the name cannot be read out of it at a glance. */
export function realmOf(origin: OriginId): Realm {
  const hash = createHash('sha256').update(`damselfly realm\0${origin}`);
  return hash.digest('hex').slice(0, REALM_HEX_DIGITS) as Realm;
}
