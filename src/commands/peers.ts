import { Command } from 'commander';
import type { StatusDocument } from '../admin/status-document.ts';
import { adminClient } from './admin-client.ts';
import { findNode, type NodeFlags, nodeOptions } from './node-address.ts';
import { keygenCommand } from './peers/keygen.ts';
import { PEERS_OFF, peersText } from './peers/text.ts';

const TIMEOUT_MS = 30_000;

export function peersCommand(): Command {
  const command = new Command('peers')
    .summary('the members that this node exchanges pieces with')
    .description(
      'Asks the running node which members it knows, what came from them and went to them, what it plans, and what is under way.',
    )
    .option('--json', "print the peers part of the node's status document: null while peers are off")
    .addHelpText(
      'after',
      `
Examples:
  damselfly peers
  damselfly peers --json | jq '.members[] | select(.state != "live")'
  (umask 077; damselfly peers keygen > /etc/damselfly/network.key)`,
    )
    .addCommand(keygenCommand());
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (flags: NodeFlags & { json?: boolean }) => {
    const client = adminClient(findNode(flags));
    try {
      const document = await client.getJson('/api/v1/status', AbortSignal.timeout(TIMEOUT_MS));
      // A node of an earlier version has no such key.
      const peers = (document as Partial<StatusDocument>).peers ?? null;
      if (flags.json === true) console.log(JSON.stringify(peers, undefined, 2));
      else console.log(peers === null ? PEERS_OFF : peersText(peers));
    } finally {
      await client.close();
    }
  });
}
