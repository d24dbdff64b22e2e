import { z } from 'zod';
import { type Digest, parseDigest } from '../../src/blob/digest.ts';
import type { OriginId } from '../../src/blob/upstream.ts';
import { type ListenAddress, PROXY_LISTEN_EXPECTED, proxyAddress } from '../address.ts';
import { DURATION_EXPECTED, durationInMs } from '../duration.ts';
import { defaulted, listOf, mappingExpected, optional, REFUSED, required, section } from '../field.ts';
import { flag, manyOf, oneOf, path, text } from '../readers.ts';
import { type HostPattern, hostPattern, ORIGIN_EXPECTED, originAddress } from '../web.ts';

/** The blob that a listener answers for on `/`. */
export interface BlobBinding {
  readonly repository: string;
  readonly digest: Digest;
}

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface ListenerConfig {
  readonly listen: readonly ListenAddress[];
  readonly origin: OriginId | undefined;
  readonly blob: BlobBinding | undefined;
  readonly tls: TlsFiles | undefined;
}

export interface RuleConfig {
  /** Matched against the URL without query and fragment; the first match wins. */
  readonly regex: RegExp;
  readonly useTLS: boolean;
  /** Replaces host and port of the URL. */
  readonly redirect: HostPattern | undefined;
  /** Query parameters that do not tell two objects apart. */
  readonly filteredQueryParams: readonly string[];
}

const REPOSITORY = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/;

const listenerSchema = z.strictObject(
  {
    listen: required({
      description: 'Where this listener listens.',
      expected: PROXY_LISTEN_EXPECTED,
      example: '127.0.0.1:4011',
      read: manyOf(proxyAddress, { min: 1 }),
    }),
    origin: optional({
      description:
        'The origin that origin-form requests on this listener mean, for clients that cannot say which registry they want.',
      expected: ORIGIN_EXPECTED,
      example: 'https://registry.example.com',
      read: originAddress,
    }),
    blob: optional({
      description: 'GET and HEAD of / on this listener are this blob (the http-proxy backend of nydusd).',
      expected: 'REPOSITORY@DIGEST such as library/alpine@sha256:…',
      example: `library/alpine@sha256:${'0'.repeat(64)}`,
      read: blobBinding,
    }),
    tls: optional({
      description: 'true: TLS with the certificate of proxy.tls; or certFile and keyFile of its own.',
      expected: 'true, false, or a mapping with certFile and keyFile',
      example: true,
      read: listenerTls,
    }),
  },
  { error: mappingExpected },
);

const ruleSchema = z.strictObject(
  {
    regex: required({
      description: 'Matched against the URL without query and fragment; the first rule that matches wins.',
      expected: 'a regular expression',
      example: 'https?://bucket\\.example\\.com/.*',
      read: regularExpression,
    }),
    useTLS: defaulted({
      description: 'Read the origin by https although the client wrote http.',
      default: false,
      expected: 'true or false',
      read: flag,
    }),
    redirect: optional({
      description: "Replaces the URL's host and port.",
      expected: 'host[:port] such as bucket.example.com:8080',
      example: 'bucket.example.com:8080',
      read: plainHost,
    }),
    filteredQueryParams: defaulted({
      description:
        'Query parameters that do not tell two objects apart (signatures, dates), besides the known ones.',
      default: [],
      expected: 'a list of parameter names',
      read: manyOf(text, { min: 0 }),
    }),
  },
  { error: mappingExpected },
);

const tlsShape = {
  certFile: optional({
    description: 'Certificate chain, PEM.',
    expected: 'the path of a PEM file',
    example: '/etc/damselfly/tls.crt',
    read: path,
  }),
  keyFile: optional({
    description: 'Its private key, PEM.',
    expected: 'the path of a PEM file',
    example: '/etc/damselfly/tls.key',
    read: path,
  }),
};

const proxyShape = {
  listen: defaulted({
    description:
      'Where image clients connect. Loopback unless you mean it: whoever reaches this port can pull through it.',
    default: '127.0.0.1:4001',
    expected: PROXY_LISTEN_EXPECTED,
    read: manyOf(proxyAddress, { min: 1 }),
  }),
  defaultOrigin: optional({
    description:
      'The registry that requests mean when nothing in them says so. http:// means plain http; a bare host means https.',
    expected: ORIGIN_EXPECTED,
    example: 'https://registry-1.docker.io',
    read: originAddress,
  }),
  allowOrigins: defaulted({
    description:
      'any: every origin may be asked for, `origins` only describes some. listed: every other origin is answered 503.',
    default: 'any',
    expected: 'any or listed',
    read: oneOf(['any', 'listed']),
  }),
  listeners: listOf(listenerSchema, {
    description: 'More listeners, each with an origin of its own.',
    expected: 'a list of mappings with listen, origin, blob and tls',
    example: [{ listen: '127.0.0.1:4011', origin: 'https://registry.example.com' }],
  }),
  tls: section(tlsShape, 'When both files are given, proxy.listen speaks TLS.'),
  intercept: section(
    {
      hosts: defaulted({
        description:
          'Hosts whose CONNECT tunnels are opened with a certificate of the CA below, so that their blobs are cached. All others are tunnelled blindly.',
        default: [],
        expected: 'a list of hosts such as registry.example.com, *.example.com or 10.0.0.5:5000',
        read: manyOf(hostPattern, { min: 0 }),
      }),
      caCertFile: optional({
        description: 'Certificate of the CA that the clients trust, PEM.',
        expected: 'the path of a PEM file',
        example: '/etc/damselfly/ca.crt',
        read: path,
      }),
      caKeyFile: optional({
        description: 'Its private key, PEM.',
        expected: 'the path of a PEM file',
        example: '/etc/damselfly/ca.key',
        read: path,
      }),
    },
    'TLS interception, off unless hosts are named.',
  ),
  rules: listOf(ruleSchema, {
    description: 'URLs besides registry blobs and manifests that are cached as objects.',
    expected: 'a list of mappings with regex, useTLS, redirect and filteredQueryParams',
    example: [{ regex: 'https?://bucket\\.example\\.com/.*' }],
  }),
  prefetch: defaulted({
    description:
      'What X-Dragonfly-Prefetch: true on a range may start. off: nothing. bounded: the following pieces, a bounded number. whole: the rest of the blob.',
    default: 'bounded',
    expected: 'off, bounded or whole',
    read: oneOf(['off', 'bounded', 'whole']),
  }),
  headersTimeout: defaulted({
    description:
      'A ranged read has its response headers within this time, or a 504 so that the client goes elsewhere (nydusd gives up at 5s, SOCI at 3s). Everything else has a fixed 25s.',
    default: '2.5s',
    expected: `${DURATION_EXPECTED}, from 100ms to 25s`,
    read: durationInMs(100, 25_000),
  }),
};

export const proxySection = section(proxyShape, 'The port of the image clients.').superRefine(checkProxy);

export type ProxyKeys = z.output<typeof proxySection>;

export interface ProxyConfig {
  readonly listen: readonly ListenAddress[];
  readonly defaultOrigin: OriginId | undefined;
  readonly allowOrigins: 'any' | 'listed';
  readonly listeners: readonly ListenerConfig[];
  readonly tls: TlsFiles | undefined;
  readonly intercept: {
    readonly hosts: readonly HostPattern[];
    readonly ca: TlsFiles | undefined;
  };
  readonly rules: readonly RuleConfig[];
  readonly prefetch: 'off' | 'bounded' | 'whole';
  readonly headersTimeoutMs: number;
}

export function proxyConfig(keys: ProxyKeys): ProxyConfig {
  const { headersTimeout, tls, intercept, listeners, ...rest } = keys;
  const nodeTls = filePair(tls.certFile, tls.keyFile);
  return {
    ...rest,
    listeners: listeners.map((listener) => ({
      ...listener,
      tls: listener.tls === true ? nodeTls : listener.tls || undefined,
    })),
    tls: nodeTls,
    intercept: { hosts: intercept.hosts, ca: filePair(intercept.caCertFile, intercept.caKeyFile) },
    headersTimeoutMs: headersTimeout,
  };
}

function checkProxy(keys: ProxyKeys, context: z.core.$RefinementCtx): void {
  const refuse = (path: PropertyKey[], input: unknown, message: string): void => {
    context.issues.push({ code: 'custom', path, input, message });
  };
  if ((keys.tls.certFile === undefined) !== (keys.tls.keyFile === undefined)) {
    const missing = keys.tls.certFile === undefined ? 'certFile' : 'keyFile';
    refuse(['tls', missing], undefined, 'both certFile and keyFile, or neither');
  }
  const { hosts, caCertFile, caKeyFile } = keys.intercept;
  if (hosts.length > 0 || caCertFile !== undefined || caKeyFile !== undefined) {
    for (const [key, value] of Object.entries({ caCertFile, caKeyFile })) {
      if (value === undefined)
        refuse(['intercept', key], undefined, 'the path of a PEM file: interception needs a CA');
    }
  }
  keys.listeners.forEach((listener, index) => {
    if (listener.tls === true && keys.tls.certFile === undefined)
      refuse(
        ['listeners', index, 'tls'],
        true,
        'proxy.tls.certFile and keyFile, whose certificate it would use',
      );
    if (listener.blob !== undefined && listener.origin === undefined && keys.defaultOrigin === undefined)
      refuse(
        ['listeners', index, 'origin'],
        undefined,
        `the origin of the listener's blob: ${ORIGIN_EXPECTED}`,
      );
  });
}

function filePair(certFile: string | undefined, keyFile: string | undefined): TlsFiles | undefined {
  return certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile };
}

function listenerTls(value: unknown): boolean | TlsFiles | typeof REFUSED {
  const asFlag = flag(value);
  if (asFlag !== REFUSED) return asFlag;
  if (typeof value !== 'object' || value === null) return REFUSED;
  const { certFile, keyFile, ...others } = value as Record<string, unknown>;
  const cert = path(certFile);
  const key = path(keyFile);
  if (cert === REFUSED || key === REFUSED || Object.keys(others).length > 0) return REFUSED;
  return { certFile: cert, keyFile: key };
}

function blobBinding(value: unknown): BlobBinding | typeof REFUSED {
  if (typeof value !== 'string') return REFUSED;
  const at = value.lastIndexOf('@');
  const repository = value.slice(0, Math.max(at, 0));
  const digest = parseDigest(value.slice(at + 1));
  return digest === null || !REPOSITORY.test(repository) ? REFUSED : { repository, digest };
}

function plainHost(value: unknown): HostPattern | typeof REFUSED {
  const host = hostPattern(value);
  return host === REFUSED || host.wildcard ? REFUSED : host;
}

function regularExpression(value: unknown): RegExp | typeof REFUSED {
  if (typeof value !== 'string' || value === '') return REFUSED;
  try {
    return new RegExp(value);
  } catch {
    return REFUSED;
  }
}
