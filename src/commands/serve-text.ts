import type { Daemon } from '../daemon.ts';
import type { PeerPresence } from '../peer-presence.ts';
import { shortIds } from './peers/short-ids.ts';

const LABEL_WIDTH = 9;

/** What `serve` prints once the node listens. */
export function readyText(version: string, { addresses, peer }: Pick<Daemon, 'addresses' | 'peer'>): string {
  const rows = Object.entries(addresses).map(([name, list]) => row(name, list.join(', ')));
  return [`damselfly ${version} serves`, ...rows, ...(peer === undefined ? [] : peerRows(peer))].join('\n');
}

function peerRows({ id, transport, listen, announced, discovery }: PeerPresence): string[] {
  const sources = Object.entries(discovery).filter(([, count]) => count > 0);
  const count = sources.reduce((sum, [, ofKind]) => sum + ofKind, 0);
  const found =
    count === 0
      ? 'no discovery source (it waits to be found)'
      : `${count} discovery source${count === 1 ? '' : 's'} (${sources.map(([kind, of]) => `${of} ${kind}`).join(', ')})`;
  return [
    row('peers', [...listen.data, ...listen.control].join(', ')),
    row('', `announced as ${[...announced.data, ...announced.control].join(', ')}`),
    row('', `peer ${shortIds([id])(id)}, transport ${transport}, ${found}`),
  ];
}

function row(label: string, text: string): string {
  return `  ${label.padEnd(LABEL_WIDTH)}${text}`;
}
