import { isIP } from 'node:net';
import { connect, type PeerCertificate } from 'node:tls';
import { request } from 'undici';
import type { OriginId } from '../../blob/upstream.ts';
import { DamselflyError } from '../../errors.ts';
import { permittedAddresses } from '../../origin/address-rule.ts';
import { trusting } from '../../origin/connector.ts';
import type { NameResolver } from '../../origin/name-resolver.ts';
import type { OriginDirectory } from '../../origin/origin-directory.ts';
import type { Pools } from '../../origin/pools.ts';
import { hostOf } from '../../origin/proxy-env.ts';

/** One step of a probe: a name server or an origin that takes longer serves no client either. */
const STEP_MS = 3_000;

/** How far one question to an origin came, and what it met. */
export interface OriginProbe {
  readonly origin: OriginId;
  /** What was asked, `https://registry.example.com/v2/`. */
  readonly url: string;
  readonly viaProxy: boolean;
  /** From the question to the answer's head, with name, TCP and TLS. */
  readonly tookMs: number;
  readonly certificate: Certificate | undefined;
  readonly answer:
    | { readonly status: number; readonly challenged: boolean; readonly clock: ClockSample | undefined }
    | undefined;
  readonly trouble: Trouble | undefined;
}

export interface Certificate {
  readonly validToMs: number;
  /** Why it is not trusted, as OpenSSL calls it; undefined: it is. */
  readonly distrust: string | undefined;
}

/** What a Date header said, and our own clock at the middle of the exchange; milliseconds since the epoch. */
export interface ClockSample {
  readonly theirsMs: number;
  readonly oursMs: number;
}

export interface Trouble {
  readonly step: 'name' | 'forbidden' | 'connect' | 'answer';
  /** An errno or the like. */
  readonly error: unknown;
}

export interface ProbeParts {
  readonly directory: Pick<OriginDirectory, 'settings' | 'route'>;
  readonly resolver: Pick<NameResolver, 'resolve'>;
  readonly pools: Pick<Pools, 'dispatcherFor'>;
}

/** Asks an origin `GET /v2/` without a credential, on the way that the node itself takes. Never throws. */
export async function probeOrigin(
  { directory, resolver, pools }: ProbeParts,
  origin: OriginId,
  signal: AbortSignal,
): Promise<OriginProbe> {
  const url = new URL(`${directory.settings(origin).baseUrl}/v2/`);
  const route = directory.route(url);
  const begunMs = performance.now();
  let certificate: Certificate | undefined;
  let viaProxy = false;
  const result = (rest: Partial<OriginProbe>): OriginProbe => ({
    origin,
    url: url.href,
    viaProxy,
    tookMs: performance.now() - begunMs,
    certificate,
    answer: undefined,
    trouble: undefined,
    ...rest,
  });
  let step: Trouble['step'] = 'connect';
  try {
    const via = pools.dispatcherFor(url, route);
    viaProxy = via.viaProxy;
    if (!viaProxy) {
      step = 'name';
      const addresses = await resolver.resolve(hostOf(url));
      if (addresses.length === 0) return result({ trouble: { step, error: undefined } });
      const permitted = permittedAddresses(addresses, route.listed);
      if (permitted.length === 0) return result({ trouble: { step: 'forbidden', error: undefined } });
      step = 'connect';
      if (url.protocol === 'https:')
        certificate = await firstOf(permitted, (address) => certificateAt(address, url, route.ca, signal));
    }
    if (certificate?.distrust !== undefined) return result({ trouble: { step, error: undefined } });
    const sentMs = Date.now();
    const { statusCode, headers, body } = await request(url, {
      dispatcher: via.dispatcher,
      headersTimeout: STEP_MS,
      bodyTimeout: STEP_MS,
      signal: AbortSignal.any([signal, AbortSignal.timeout(2 * STEP_MS)]),
    });
    const oursMs = (sentMs + Date.now()) / 2;
    const tookMs = performance.now() - begunMs;
    await body.dump().catch(() => undefined);
    const theirsMs = Date.parse(String(headers.date));
    const clock = Number.isNaN(theirsMs) ? undefined : { theirsMs, oursMs };
    const challenged = headers['www-authenticate'] !== undefined;
    return result({ tookMs, answer: { status: statusCode, challenged, clock } });
  } catch (error) {
    if (error instanceof DamselflyError && error.code === 'target-forbidden')
      return result({ trouble: { step: 'forbidden', error } });
    return result({
      trouble: { step: step === 'connect' && certificate !== undefined ? 'answer' : step, error },
    });
  }
}

/** @throws what the last address failed with. */
async function firstOf<T>(
  addresses: readonly string[],
  attempt: (address: string) => Promise<T>,
): Promise<T> {
  let last: unknown;
  for (const address of addresses.slice(0, 3)) {
    try {
      return await attempt(address);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/** A handshake of its own, which looks at the certificate whether or not it is to be trusted. */
function certificateAt(
  address: string,
  url: URL,
  ca: string | undefined,
  signal: AbortSignal,
): Promise<Certificate> {
  const host = hostOf(url);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address,
      port: Number(url.port || 443),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...trusting(ca),
      // Only looked at; nothing is sent here.
      rejectUnauthorized: false,
    });
    const timer = setTimeout(() => end(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })), STEP_MS);
    const stopped = (): void => end(signal.reason);
    const end = (outcome: unknown): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stopped);
      socket.destroy();
      reject(outcome);
    };
    signal.addEventListener('abort', stopped, { once: true });
    socket.on('error', end);
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerCertificate();
      const { authorizationError } = socket;
      resolve({
        validToMs: validTo(certificate),
        distrust: authorizationError ? nameOf(authorizationError) : undefined,
      });
      end(undefined);
    });
  });
}

function validTo(certificate: PeerCertificate): number {
  const ms = Date.parse(certificate.valid_to);
  return Number.isNaN(ms) ? Number.POSITIVE_INFINITY : ms;
}

/** Typed as an Error, and a string in fact, except for a wrong name. */
function nameOf(error: Error | string): string {
  if (typeof error === 'string') return error;
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
