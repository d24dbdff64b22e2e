import type { OriginId } from '../blob/upstream.ts';
import { DamselflyError } from '../errors.ts';
import type { OriginDirectory } from '../origin/origin-directory.ts';
import type { Authority, NamedOrigin } from './authority.ts';
import type { MirrorRequest } from './ingress.ts';

/**
 * Which origin a mirror request means (the contract, "Ingress forms"): `X-Dragonfly-Registry`, then `ns`, then the
 * listener's or the Host name's origin, then the default.
 * @throws DamselflyError origin-unknown, origin-not-listed.
 */
export function chooseOrigin(
  request: MirrorRequest,
  directory: OriginDirectory,
  listenerOrigin: OriginId | undefined,
): OriginId {
  const named = request.registry ?? request.namespace?.origin;
  if (named !== undefined) return directory.resolve(textOf(named));
  const origin = listenerOrigin ?? byHost(request.host, directory) ?? directory.defaultOrigin;
  if (origin !== undefined) return origin;
  throw new DamselflyError(
    'origin-unknown',
    'The request does not say which registry it means: send X-Dragonfly-Registry or ns=, or set proxy.defaultOrigin',
  );
}

function byHost(host: Authority | undefined, directory: OriginDirectory): OriginId | undefined {
  if (host === undefined) return undefined;
  return directory.byHostName(host.port === undefined ? host.host : `${host.host}:${host.port}`);
}

function textOf({ scheme, host, port }: NamedOrigin): string {
  return `${scheme}://${host}${port === undefined ? '' : `:${port}`}`;
}
