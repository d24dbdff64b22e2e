import { Command } from 'commander';
import type { StatusDocument } from '../admin/status-document.ts';
import { adminClient } from './admin-client.ts';
import { findNode, type NodeFlags, nodeOptions } from './node-address.ts';
import { statusText } from './status-text.ts';

const TIMEOUT_MS = 30_000;

export function statusCommand(): Command {
  const command = new Command('status')
    .summary('what the node did: bytes by source, saved egress, cache, origins')
    .description('Asks the running node what it did since its start.')
    .option('--json', "print the node's status document as it is")
    .addHelpText(
      'after',
      `
Examples:
  damselfly status
  damselfly status --json | jq .traffic.servedBytes
  damselfly status --admin 10.0.0.5:4003`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (flags: NodeFlags & { json?: boolean }) => {
    const client = adminClient(findNode(flags));
    try {
      const document = await client.getJson('/api/v1/status', AbortSignal.timeout(TIMEOUT_MS));
      console.log(
        flags.json === true ? JSON.stringify(document, undefined, 2) : statusText(document as StatusDocument),
      );
    } finally {
      await client.close();
    }
  });
}
