import type { MemberStatus, SwarmStatus, TransferStatus } from '../../../peer/status.ts';
import { columns } from '../columns.ts';
import { formatBytes, formatSeconds } from '../quantity.ts';
import { shortIds } from './short-ids.ts';

/** `sha256:` and twelve digits, as `blobs` shows them. */
const SHOWN_DIGEST_CHARS = 19;
const LABEL_WIDTH = 12;

export const PEERS_OFF = `Peers are off: this node exchanges pieces with nobody.
To switch them on: make a key with "damselfly peers keygen", give the same file to every node as peer.networkKeyFile,
and say under peer.discovery how they find each other (static, dns, mdns or bootstrap).`;

/** `damselfly peers` as a person reads it. */
export function peersText(swarm: SwarmStatus): string {
  const { members, transfers, memberCount, listen, zone } = swarm;
  const shorten = shortIds([swarm.id, ...members.map(({ id }) => id), ...transfers.map(({ peer }) => peer)]);
  const parts = [
    [
      row('this node', `${swarm.id}${zone === '' ? '' : `, zone ${zone}`}`),
      row('listening', [...listen.data, ...listen.control].join(', ')),
      row('members', membersLine(swarm)),
      row('pieces', trafficLine(swarm)),
      row('planning', planningLine(swarm)),
    ],
  ];
  if (members.length > 0)
    parts.push(
      columns([
        ['MEMBER', 'ZONE', 'STATE', 'ADDRESS', 'FROM IT', 'TO IT', 'RTT', 'SCORE'],
        ...members.map((member) => memberRow(member, shorten)),
      ]),
    );
  if (members.length < memberCount)
    parts.push([`${members.length} of ${memberCount} members are shown, the live ones first`]);
  if (transfers.length > 0)
    parts.push(
      columns([
        ['UNDER WAY', 'MEMBER', 'BLOB', 'PIECE', 'BYTES', 'SINCE', 'FOR'],
        ...transfers.map((transfer) => transferRow(transfer, shorten)),
      ]),
    );
  return parts.map((lines) => lines.join('\n')).join('\n\n');
}

/** `3: 2 live, 1 suspect, in 2 zones`. */
export function membersLine({ memberCount, totals }: SwarmStatus): string {
  if (memberCount === 0) return 'none known';
  const states = (['live', 'suspect', 'quarantined'] as const)
    .filter((state) => totals[state] > 0)
    .map((state) => `${totals[state]} ${state}`);
  return `${memberCount}: ${[...states, `in ${counted(totals.zones, 'zone')}`].join(', ')}`;
}

export function trafficLine({ totals }: SwarmStatus): string {
  return `${formatBytes(totals.receivedBytes)} from them, ${formatBytes(totals.sentBytes)} to them`;
}

export function planningLine({ planning }: SwarmStatus): string {
  const { segments, waiting, leases } = planning;
  return `plans ${counted(segments, 'segment')}, ${leases} of their pieces leased out, ${counted(waiting, 'question')} waiting`;
}

function memberRow(member: MemberStatus, shorten: (id: string) => string): string[] {
  const { zone, state, connected, addresses, receivedBytes, sentBytes, rttMs, score } = member;
  return [
    shorten(member.id),
    zone === '' ? '-' : zone,
    connected ? `${state}, connected` : state,
    addresses[0] ?? '-',
    formatBytes(receivedBytes),
    formatBytes(sentBytes),
    rttMs === null ? '-' : `${rttMs.toFixed(1)} ms`,
    score.toFixed(2),
  ];
}

function transferRow(transfer: TransferStatus, shorten: (id: string) => string): string[] {
  const { direction, peer, digest, piece, bytes, ageMs, urgency } = transfer;
  return [
    direction,
    shorten(peer),
    digest.slice(0, SHOWN_DIGEST_CHARS),
    String(piece),
    formatBytes(bytes),
    formatSeconds(ageMs / 1000),
    urgency,
  ];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function row(label: string, text: string): string {
  return label.padEnd(LABEL_WIDTH) + text;
}
