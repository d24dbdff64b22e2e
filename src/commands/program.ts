import { Command, CommanderError } from 'commander';
import { blobsCommand } from './blobs.ts';
import { cacheCommand } from './cache.ts';
import { doctorCommand } from './doctor.ts';
import { type ExitCode, failureDocument, reportFailure } from './failure.ts';
import { getCommand } from './get.ts';
import { peersCommand } from './peers.ts';
import { prefetchCommand } from './prefetch.ts';
import { serveCommand } from './serve.ts';
import { setupCommand } from './setup.ts';
import { statusCommand } from './status.ts';
import { packageVersion } from './version.ts';

/** Runs one command line. @param args without the interpreter and the script. @returns the exit code. */
export async function run(args: readonly string[]): Promise<ExitCode> {
  let running: Command | undefined;
  const program = new Command('damselfly')
    .description('P2P-aware blob distribution proxy for container images.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .hook('preAction', (_, command) => {
      running = command;
    })
    .addHelpText(
      'after',
      `
Exit codes: 0 success, 1 failure, 2 bad usage (the command line, a reference or the configuration).
Guide: docs/cli.md. Configuration: docs/configuration.md.`,
    );
  for (const command of [
    serveCommand(),
    getCommand(),
    prefetchCommand(),
    statusCommand(),
    peersCommand(),
    blobsCommand(),
    cacheCommand(),
    doctorCommand(),
    setupCommand(),
  ]) {
    program.addCommand(command);
  }
  for (const command of withParts(program)) {
    const name = ['damselfly', ...nameOf(command)].join(' ');
    command.helpOption('-h, --help', 'print help');
    if (command.commands.length > 0) command.helpCommand('help [command]', 'print help');
    command.exitOverride().showHelpAfterError(`Try: ${name} --help`);
    command.configureOutput({
      outputError: (text, write) => write(text.replace(/^error:/, `${name}:`)),
    });
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    // Commander has told usage errors already; help and version that were asked for are a success.
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (args.includes('--json'))
        console.log(failureDocument('usage', error.message.replace(/^error: /, '')));
      return 2;
    }
    return reportFailure(
      running === undefined ? '' : nameOf(running).join(' '),
      error,
      running?.opts().json === true,
    );
  }
}

function withParts(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withParts)];
}

/** `cache verify` without the program's own name. */
function nameOf(command: Command): string[] {
  return command.parent === null ? [] : [...nameOf(command.parent), command.name()];
}
