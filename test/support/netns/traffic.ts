import { ip } from './commands.ts';

/** Bytes that went over a link so far, of Ethernet frames as the kernel counts them. */
export interface Traffic {
  /** From the host into the network. */
  readonly upBytes: number;
  /** From the network to the host. */
  readonly downBytes: number;
}

interface LinkLine {
  readonly ifname: string;
  readonly stats64: { readonly rx: { readonly bytes: number }; readonly tx: { readonly bytes: number } };
}

/** By name of the port, as seen from the host behind it: what the port received, the host has sent. */
export async function portTraffic(hubNamespace: string): Promise<Map<string, Traffic>> {
  const lines = JSON.parse(await ip('-n', hubNamespace, '-s', '-j', 'link', 'show')) as LinkLine[];
  return new Map(
    lines.map(({ ifname, stats64 }) => [ifname, { upBytes: stats64.rx.bytes, downBytes: stats64.tx.bytes }]),
  );
}

export function trafficBetween(before: Traffic, after: Traffic): Traffic {
  return { upBytes: after.upBytes - before.upBytes, downBytes: after.downBytes - before.downBytes };
}
