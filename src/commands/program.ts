import { Command, CommanderError } from 'commander';
import { type ExitCode, failureDocument, reportFailure } from './failure.ts';
import { getCommand } from './get.ts';
import { prefetchCommand } from './prefetch.ts';
import { serveCommand } from './serve.ts';
import { statusCommand } from './status.ts';
import { packageVersion } from './version.ts';

/** Runs one command line. @param args without the interpreter and the script. @returns the exit code. */
export async function run(args: readonly string[]): Promise<ExitCode> {
  let running: Command | undefined;
  const program = new Command('damselfly')
    .description('P2P-aware blob distribution proxy for container images.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help')
    .hook('preAction', (_, command) => {
      running = command;
    })
    .addHelpText(
      'after',
      `
Exit codes: 0 success, 1 failure, 2 bad usage (the command line, a reference or the configuration).
Guide: docs/cli.md. Configuration: docs/configuration.md.`,
    );
  for (const command of [serveCommand(), getCommand(), prefetchCommand(), statusCommand()]) {
    program.addCommand(command.helpOption('-h, --help', 'print help'));
  }
  for (const command of [program, ...program.commands]) {
    const name = ['damselfly', ...nameOf(command)].join(' ');
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
    return reportFailure(running?.name() ?? '', error, running?.opts().json === true);
  }
}

function nameOf(command: Command): string[] {
  return command.parent === null ? [] : [command.name()];
}
