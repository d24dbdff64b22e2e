import { type Found, failed, ok, skipped, warning } from '../check.ts';
import type { OriginProbe } from '../host/origin-probe.ts';

const DAY_MS = 86_400_000;
const EXPIRES_SOON_MS = 14 * DAY_MS;
/** Beyond this a ranged read of nydusd may not have its head in time. */
const SLOW_MS = 1_500;

export interface OriginsWorld {
  readonly probes: Promise<readonly OriginProbe[]>;
  /** ECONNREFUSED and the like in words. */
  reasonOf(error: unknown): string;
  /** Milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Each origin that the configuration names: name, connection, certificate and the answer to `GET /v2/`. */
export async function checkOrigins(world: OriginsWorld): Promise<Found[]> {
  const probes = await world.probes;
  if (probes.length === 0)
    return [skipped(undefined, 'the configuration names no origin; origins that clients name are not asked')];
  return probes.flatMap((probe) => judgeOrigin(probe, world));
}

function judgeOrigin(probe: OriginProbe, world: Omit<OriginsWorld, 'probes'>): Found[] {
  const { origin, certificate } = probe;
  if (certificate?.distrust !== undefined) return [distrusted(probe, certificate.distrust)];
  const found = probe.trouble === undefined ? answered(probe) : troubled(probe, world);
  const leftMs = (certificate?.validToMs ?? Number.POSITIVE_INFINITY) - world.nowMs;
  if (leftMs > EXPIRES_SOON_MS) return [found];
  const when = leftMs <= 0 ? 'has expired' : `expires in ${Math.floor(leftMs / DAY_MS)} days`;
  return [
    found,
    warning(
      origin,
      `its certificate ${when}`,
      'Have it renewed: after that day no node can read this origin',
    ),
  ];
}

function answered({ origin, url, viaProxy, tookMs, answer }: OriginProbe): Found {
  const status = answer?.status ?? 0;
  const how = `${status} to GET ${new URL(url).pathname} in ${Math.round(tookMs)} ms${viaProxy ? ', through a proxy' : ''}`;
  if (status >= 500)
    return failed(
      origin,
      `answers ${how}`,
      viaProxy
        ? 'Look at the proxy and at the origin: one of them fails'
        : 'Look at the origin: it fails by itself',
    );
  if (status === 407)
    return failed(
      origin,
      `the proxy answers ${how}`,
      'Name a proxy that takes this node without a login (origins[].proxy)',
    );
  if (tookMs > SLOW_MS)
    return warning(
      origin,
      `answers ${how}, which is slow`,
      'Look at the name server and the way to this origin: lazy reads have 2.5 s in all',
    );
  const isRegistry = status === 200 || (status === 401 && answer?.challenged === true);
  if (isRegistry) return ok(origin, `answers ${how}`);
  return ok(origin, `answers ${how}: no registry, or one that tells nobody`);
}

function troubled(
  { origin, url, trouble, viaProxy }: OriginProbe,
  { reasonOf }: Pick<OriginsWorld, 'reasonOf'>,
): Found {
  const { host, hostname } = new URL(url);
  switch (trouble?.step) {
    case 'name':
      return failed(
        origin,
        `the name ${hostname} does not resolve`,
        'Spell the host as the registry does, or look at the name server of this host',
      );
    case 'forbidden':
      return failed(
        origin,
        `${host} is a link-local, metadata, unspecified or unlisted loopback address, which nodes never read`,
        'List its host with its port in origins if it is meant (loopback only), or name another address',
      );
    case 'answer':
      return failed(
        origin,
        `${host} takes the connection and does not answer (${reasonOf(trouble.error)})`,
        'Look at the origin, and at what stands in front of it',
      );
    default: {
      const where = viaProxy ? `${host} cannot be reached through the proxy` : `${host} cannot be reached`;
      return failed(
        origin,
        `${where} (${reasonOf(trouble?.error)})`,
        viaProxy
          ? 'Look at origins[].proxy and HTTPS_PROXY: is the proxy there, and does it let this host through?'
          : 'Look at its port and the firewall; set insecure: true for it if it speaks plain http, or origins[].proxy where one is needed',
      );
    }
  }
}

function distrusted({ origin, url }: OriginProbe, code: string): Found {
  const { host } = new URL(url);
  if (code === 'CERT_HAS_EXPIRED')
    return failed(origin, 'its certificate has expired', "Have it renewed, and look at this host's clock");
  if (code === 'CERT_NOT_YET_VALID')
    return failed(origin, 'its certificate is not valid yet', "Look at this host's clock");
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return failed(
      origin,
      `its certificate is for another name than ${host}`,
      'Spell the host as the certificate does, or have one made for this name',
    );
  return failed(
    origin,
    `its certificate is from an unknown authority (${code})`,
    'Name the authority in origins[].ca',
  );
}
