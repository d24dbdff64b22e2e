import { z } from 'zod';
import { defaulted, listOf, mappingExpected, optional, required } from '../field.ts';
import { flag, manyOf, path } from '../readers.ts';
import {
  formatHost,
  HOST_EXPECTED,
  HOST_PATTERN_EXPECTED,
  hostPattern,
  hostWithPort,
  ORIGIN_URL_EXPECTED,
  originAddress,
  originUrl,
} from '../web.ts';

const originShape = {
  host: required({
    description:
      "The registry or object store, with a port when it is not the scheme's own; * is a wildcard. The most exact entry wins.",
    expected: HOST_PATTERN_EXPECTED,
    example: 'registry.example.com',
    read: hostPattern,
  }),
  names: defaulted({
    description: 'Host headers that mean this origin, for clients that cannot name a registry otherwise.',
    default: [],
    example: ['registry.node.local:4001'],
    expected: `a list of ${HOST_EXPECTED}`,
    read: manyOf(hostWithPort, { min: 0 }),
  }),
  url: optional({
    description: 'Where requests for this origin really go; a path goes before /v2/.',
    expected: ORIGIN_URL_EXPECTED,
    example: 'https://registry-cache.example.com',
    read: originUrl,
  }),
  insecure: defaulted({
    description: 'Plain http.',
    default: false,
    expected: 'true or false',
    read: flag,
  }),
  ca: optional({
    description: "Certificates to trust for this origin besides the system's, PEM.",
    expected: 'the path of a PEM file',
    example: '/etc/damselfly/registry-ca.crt',
    read: path,
  }),
  credentialsFile: optional({
    description:
      "A docker config.json (credential helpers too) for the node's own reads: prefetch, preheat, scrubbing.",
    expected: 'the path of a docker config.json',
    example: '/etc/damselfly/docker-config.json',
    read: path,
  }),
  proxy: optional({
    description: 'HTTP proxy on the way to this origin, in place of HTTPS_PROXY and NO_PROXY.',
    expected: 'an http:// or https:// URL with host and port, without user or path',
    example: 'http://proxy.example.com:3128',
    read: originAddress,
  }),
  share: defaulted({
    description: "false keeps this origin's blobs on this node: peers are not given any.",
    default: true,
    expected: 'true or false',
    read: flag,
  }),
};

const originSchema = z.strictObject(originShape, { error: mappingExpected });

export const originsSection = listOf(originSchema, {
  description:
    'What is special about some origins. Origins that are not listed are read by https, as they are.',
  expected: 'a list of mappings, each with a host',
  example: [
    { host: 'registry.example.com', credentialsFile: '/etc/damselfly/docker-config.json' },
    { host: '10.0.0.5:5000', insecure: true },
  ],
}).superRefine(checkOrigins);

export type OriginConfig = z.output<typeof originSchema>;

function checkOrigins(origins: readonly OriginConfig[], context: z.core.$RefinementCtx): void {
  const hosts = new Set<string>();
  const names = new Set<string>();
  const refuse = (index: number, key: string, input: unknown, message: string): void => {
    context.issues.push({ code: 'custom', path: [index, key], input, message });
  };
  origins.forEach((origin, index) => {
    const host = formatHost(origin.host);
    if (hosts.has(host)) refuse(index, 'host', host, 'each host once: put its keys together in one entry');
    hosts.add(host);
    if (origin.host.wildcard && origin.names.length > 0)
      refuse(
        index,
        'names',
        origin.names.join(', '),
        'no names beside a host with a wildcard: which host would they mean?',
      );
    for (const name of origin.names) {
      if (names.has(name)) refuse(index, 'names', name, 'each name under one origin only');
      names.add(name);
    }
  });
}
