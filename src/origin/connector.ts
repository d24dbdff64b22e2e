import type { LookupAddress, LookupOptions } from 'node:dns';
import { isIP, type Socket } from 'node:net';
import { getCACertificates } from 'node:tls';
import { buildConnector } from 'undici';
import { DamselflyError } from '../errors.ts';
import { permittedAddresses } from './address-rule.ts';
import type { NameResolver } from './name-resolver.ts';

/** Connecting (name, TCP, TLS) takes no longer, so that a retry still fits into the 2.5 s of a ranged read. */
export const CONNECT_TIMEOUT_MS = 1_500;

export type Lookup = (
  hostname: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
) => void;

/** Makes the function that opens sockets; tests put one here that never leaves the process. */
export type ConnectorFactory = (options: {
  readonly ca: string | undefined;
  readonly lookup: Lookup;
}) => buildConnector.connector;

export const socketConnector: ConnectorFactory = ({ ca, lookup }) =>
  // Timeouts of the library are 0.5 to 1 s coarse; ours is precise. HTTP/2 would put all bodies on one connection.
  buildConnector({ timeout: 0, allowH2: false, lookup, ...trusting(ca) } as never);

/** TLS options that trust these authorities besides the system's. */
export function trusting(ca: string | undefined): { readonly ca?: string[] } {
  return ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] };
}

/** A lookup that hands out only what `permit` leaves; what is checked is what is connected to. */
export function guardedLookup(
  resolver: Pick<NameResolver, 'resolve'>,
  permit: (host: string, addresses: readonly string[]) => readonly string[],
): Lookup {
  const find = async (hostname: string, options: LookupOptions): Promise<LookupAddress[]> => {
    const addresses = await resolver.resolve(hostname);
    if (addresses.length === 0) throw unreachable(hostname, 'its name does not resolve');
    const family = options.family === 4 || options.family === 6 ? options.family : 0;
    const found = permit(hostname, addresses)
      .map((address) => ({ address, family: isIP(address) }))
      .filter((entry) => family === 0 || entry.family === family);
    if (found.length === 0) throw unreachable(hostname, 'it has no address of the wanted family');
    return found;
  };
  return (hostname, options, callback) => {
    // Out of the promise before the callback: what it throws is not a failure of the lookup.
    find(hostname, options).then(
      (found) => {
        const first = found[0];
        if (options.all === true) process.nextTick(callback, null, found);
        else process.nextTick(callback, null, first?.address, first?.family);
      },
      (error) => process.nextTick(callback, error, []),
    );
  };
}

/**
 * The SSRF rule (see {@link permittedAddresses}) as a filter of what a name resolved to.
 * @param listed whether a loopback address is meant.
 * @param onForbidden told of every refusal.
 * @returns a function that throws DamselflyError `target-forbidden` when nothing is left.
 */
export function permitter(
  listed: boolean,
  onForbidden: () => void,
): (host: string, addresses: readonly string[]) => readonly string[] {
  return (host, addresses) => {
    const permitted = permittedAddresses(addresses, listed);
    if (permitted.length > 0) return permitted;
    onForbidden();
    throw new DamselflyError(
      'target-forbidden',
      'The target is a link-local, metadata, unspecified or unlisted loopback address; list its host and port in origins if it is meant',
      { facts: { host } },
    );
  };
}

/**
 * Where a proxy would be asked for the target: its name is not resolved here, but an address that we may not reach
 * ourselves is not asked of others either.
 */
export function checkProxied(
  host: string,
  permit: (host: string, addresses: readonly string[]) => readonly string[],
): void {
  const literal = host === 'localhost' || host.endsWith('.localhost') ? '127.0.0.1' : host;
  if (/^[\d.]+$|:/.test(literal)) permit(host, [literal]);
}

/**
 * A connector for one target host and port under the SSRF rule (see {@link permittedAddresses}), with a connect
 * deadline.
 * @param onForbidden told of every refusal.
 */
export function guardedConnector(options: {
  readonly factory: ConnectorFactory;
  readonly resolver: Pick<NameResolver, 'resolve'>;
  readonly ca: string | undefined;
  readonly listed: boolean;
  readonly onForbidden: () => void;
  readonly timeoutMs?: number | undefined;
}): buildConnector.connector {
  const timeoutMs = options.timeoutMs ?? CONNECT_TIMEOUT_MS;
  const permit = permitter(options.listed, options.onForbidden);
  const connect = options.factory({ ca: options.ca, lookup: guardedLookup(options.resolver, permit) });
  return (target, callback) => {
    if (isIP(target.hostname) !== 0) {
      // A literal address is connected to without a lookup.
      try {
        permit(target.hostname, [target.hostname]);
      } catch (error) {
        callback(error as Error, null);
        return;
      }
    }
    let socket: Socket | undefined;
    const timer = setTimeout(() => {
      socket?.destroy(unreachable(target.hostname, `no connection within ${timeoutMs} ms`));
    }, timeoutMs);
    // Typed as void, but the library's own connector returns its socket at once.
    socket = connect(target, (...result) => {
      clearTimeout(timer);
      callback(...result);
    }) as unknown as Socket | undefined;
  };
}

export function unreachable(host: string, why: string): DamselflyError {
  return new DamselflyError('origin-unreachable', `${host} cannot be reached: ${why}`, { facts: { host } });
}
