import { Command } from 'commander';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import type { Daemon } from '../daemon.ts';
import type { Logger } from '../observe/log.ts';
import { leave } from './leave.ts';
import { configOption } from './node-address.ts';
import { repeatable } from './repeatable.ts';
import { readyText } from './serve-text.ts';
import { stopSignal } from './signals.ts';
import { packageVersion } from './version.ts';

/** The daemon ends streams within 5 s of a stop; this is for one that does not come to an end at all. */
const STOP_LIMIT_MS = 15_000;
/** After an error that nobody expected: nothing needs the stop (a kill at any time is survived), but it costs others less. */
const LAST_STOP_LIMIT_MS = 3_000;

interface ServeFlags {
  readonly config?: string;
  readonly set?: readonly string[];
}

export function serveCommand(): Command {
  return new Command('serve')
    .summary('run the node')
    .description(
      'Runs the node in the foreground until SIGTERM or SIGINT. Logs are JSON lines on stderr; what it listens on is printed on stdout once it does.',
    )
    .addOption(configOption())
    .addOption(
      repeatable(
        '--set <key=value>',
        'set one key of the configuration, over environment and file (repeatable)',
      ),
    )
    .addHelpText(
      'after',
      `
Examples:
  damselfly serve
  damselfly serve -c damselfly.yaml --set log.level=debug
  damselfly serve --set cache.dir=/tmp/damselfly --set proxy.defaultOrigin=https://registry.example.com
  DAMSELFLY_CACHE__MAXBYTES=200GiB damselfly serve

Every key, with its default: config/damselfly.yaml and docs/configuration.md.
A configuration that is refused ends with exit code 2, a node that cannot start with 1.`,
    )
    .action(async (flags: ServeFlags) => {
      const { config, warnings } = loadConfig({ file: flags.config, env: process.env, set: flags.set ?? [] });
      // Loaded here, so that the other commands start without the daemon's weight.
      const { createLogger } = await import('../observe/log.ts');
      const log = createLogger(config.log.level);
      for (const warning of warnings) log.warn({ warning }, 'configuration');
      await serve(config, warnings, log);
    });
}

async function serve(config: Config, warnings: readonly string[], log: Logger): Promise<void> {
  const { startDaemon } = await import('../daemon.ts');
  // Registered before the start, so that a stop that comes early is kept and not fatal.
  const stop = stopSignal();
  let daemon: Daemon | undefined;
  let isDying = false;
  // What state things are in is not known any more, so the node ends; in order, if it can.
  const die = (error: unknown): void => {
    log.fatal({ err: error }, 'unexpected error');
    if (isDying) return;
    isDying = true;
    setTimeout(() => void leave(1), LAST_STOP_LIMIT_MS);
    void (daemon?.stop() ?? Promise.resolve()).finally(() => leave(1));
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
  // Whoever read what we print may have left (a closed pipe); the node lives on.
  process.stdout.on('error', () => undefined);
  daemon = await startDaemon(config, { version: packageVersion(), log, warnings });
  console.log(readyText(packageVersion(), daemon));
  await aborted(stop);
  log.info('stopping');
  const limit = setTimeout(() => {
    log.error({ limitMs: STOP_LIMIT_MS }, 'the stop did not come to an end');
    void leave(1);
  }, STOP_LIMIT_MS);
  await daemon.stop();
  clearTimeout(limit);
  // A forgotten handle must not keep a stopped node alive; the logger writes what it holds on exit.
  await leave(isDying ? 1 : 0);
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
