import { z } from 'zod';
import { mappingExpected } from './field.ts';
import { type AccessConfig, accessConfig, accessSection } from './sections/access.ts';
import { type CacheConfig, cacheConfig, cacheSection } from './sections/cache.ts';
import { type DragonflyConfig, dragonflySection } from './sections/dragonfly.ts';
import {
  type AdminConfig,
  adminSection,
  type LogConfig,
  logSection,
  type MetricsConfig,
  metricsSection,
} from './sections/operation.ts';
import { type OriginConfig, originsSection } from './sections/origins.ts';
import { type PeerConfig, peerConfig, peerSection } from './sections/peer.ts';
import { type ProxyConfig, proxyConfig, proxySection } from './sections/proxy.ts';

/**
 * Every key of the configuration file, as it is written there. Each leaf carries its description, default and
 * expectation (field.ts), from which config/damselfly.yaml and docs/configuration.md are generated.
 */
export const configSchema = z.strictObject(
  {
    proxy: proxySection,
    origins: originsSection,
    access: accessSection,
    cache: cacheSection,
    peer: peerSection,
    dragonfly: dragonflySection,
    admin: adminSection,
    metrics: metricsSection,
    log: logSection,
  },
  { error: mappingExpected },
);

/** The configuration as the node uses it: units in the names, every default filled in. */
export interface Config {
  readonly proxy: ProxyConfig;
  readonly origins: readonly OriginConfig[];
  readonly access: AccessConfig;
  readonly cache: CacheConfig;
  readonly peer: PeerConfig;
  readonly dragonfly: DragonflyConfig;
  readonly admin: AdminConfig;
  readonly metrics: MetricsConfig;
  readonly log: LogConfig;
}

export function toConfig(keys: z.output<typeof configSchema>): Config {
  return {
    ...keys,
    proxy: proxyConfig(keys.proxy),
    access: accessConfig(keys.access),
    cache: cacheConfig(keys.cache),
    peer: peerConfig(keys.peer),
  };
}
