import { Command } from 'commander';
import { generateKeyFile } from '../../../peer/identity/network-key.ts';

export function keygenCommand(): Command {
  return new Command('keygen')
    .summary('prints a new network key file')
    .description(
      'Prints the contents of a new network key file on stdout, and nothing else. Every node of a network has the same file, as peer.networkKeyFile. It is a secret: whoever has it is a member.',
    )
    .addHelpText(
      'after',
      `
Examples:
  (umask 077; damselfly peers keygen > /etc/damselfly/network.key)
  damselfly peers keygen | kubectl create secret generic damselfly-network-key --from-file=network.key=/dev/stdin`,
    )
    .action(() => {
      process.stdout.write(generateKeyFile());
    });
}
