import type { z } from 'zod';
import { DURATION_EXPECTED, durationInMs, MAX_AGE_MS } from '../duration.ts';
import { defaulted, section } from '../field.ts';
import { oneOf } from '../readers.ts';

const accessShape = {
  mode: defaulted({
    description:
      "requester: the origin has accepted this requester's own credential before a cached byte leaves. node: requests without a credential use the node's, so whoever reaches proxy.listen may read what the node may.",
    default: 'requester',
    expected: 'requester or node',
    read: oneOf(['requester', 'node']),
  }),
  ttl: defaulted({
    description: "How long the origin's yes to a requester and repository is remembered.",
    default: '5m',
    expected: DURATION_EXPECTED,
    read: durationInMs(0, MAX_AGE_MS),
  }),
  grace: defaulted({
    description:
      'With whenOriginDown: allow, how long a yes is still taken while the origin cannot be asked (never less than ttl). A day outlasts most outages; a revoked reader keeps what is cached for that long, but only during one.',
    default: '24h',
    expected: DURATION_EXPECTED,
    read: durationInMs(0, MAX_AGE_MS),
  }),
  whenOriginDown: defaulted({
    description:
      'While the origin cannot be asked. deny: what needs its word is answered 503. allow: rights within grace are taken, and a tag is answered with the last digest that this node saw for it.',
    default: 'deny',
    expected: 'deny or allow',
    read: oneOf(['deny', 'allow']),
  }),
};

export const accessSection = section(accessShape, 'Who may read what is cached.');

export interface AccessConfig {
  readonly mode: 'requester' | 'node';
  readonly ttlMs: number;
  /** At least ttlMs. */
  readonly graceMs: number;
  readonly whenOriginDown: 'deny' | 'allow';
}

export function accessConfig(keys: z.output<typeof accessSection>): AccessConfig {
  const { ttl, grace, ...rest } = keys;
  return { ...rest, ttlMs: ttl, graceMs: Math.max(ttl, grace) };
}
