import { existsSync } from 'node:fs';
import { styleText } from 'node:util';
import { Command } from 'commander';
import { DEFAULT_FILE } from '../../config/file.ts';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { settingWarnings } from '../../config/warnings.ts';
import type { Verdict } from '../doctor/check.ts';
import type { ConfigWorld } from '../doctor/checks/config.ts';
import { hasCode } from '../errors.ts';
import { doctorText } from './doctor-text.ts';
import { CommandFailed, reasonOf } from './failure.ts';
import { flagAddress, type NodeFlags, nodeOptions, reachableText } from './node-address.ts';
import { formatBytes } from './quantity.ts';
import { stopSignal } from './signals.ts';
import { packageVersion } from './version.ts';

interface DoctorFlags extends NodeFlags {
  readonly root: string;
  readonly json?: boolean;
}

const COLOURS = { ok: 'green', warning: 'yellow', failed: 'red', skipped: 'gray' } as const;

export function doctorCommand(): Command {
  const command = new Command('doctor')
    .summary('checks this host, and says what to mend')
    .description(
      'Checks the configuration, ports, the running node, cache disk, origins, clock, peers, limits, key files and the clients of this host, all at once and within ten seconds. It changes nothing, and asks only what the configuration names. Ends with 1 when something failed; warnings alone are 0.',
    )
    .option('--root <dir>', "root of the clients' configuration files, as for setup", '/')
    .option('--json', 'print one JSON document, also when checks fail')
    .addHelpText(
      'after',
      `
Examples:
  damselfly doctor
  damselfly doctor -c damselfly.yaml
  damselfly doctor --json | jq '.findings[] | select(.verdict == "failed")'`,
    );
  for (const option of nodeOptions()) command.addOption(option);
  return command.action(async (flags: DoctorFlags) => {
    const begunMs = performance.now();
    const { config, checked, known } = load(flags.config);
    const admin = flags.admin === undefined ? config?.admin.listen[0] : flagAddress(flags.admin, '--admin');
    const proxy = flags.node === undefined ? plainProxy(config) : flagAddress(flags.node, '--node');
    // Loaded here, so that the other commands start without their weight.
    const [{ hostChecks }, { runChecks }, { reportOf }] = await Promise.all([
      import('../doctor/host-checks.ts'),
      import('../doctor/run-checks.ts'),
      import('../doctor/report.ts'),
    ]);
    const version = packageVersion();
    const { checks, close } = hostChecks({
      config,
      checked,
      known,
      version,
      admin: reachableText(admin),
      proxy: reachableText(proxy),
      metrics: reachableText(config?.metrics.listen[0]),
      main: flags.node !== undefined && proxy?.kind === 'tcp' ? proxy : undefined,
      root: flags.root,
      reasonOf,
      formatBytes,
    });
    try {
      const findings = await runChecks(checks, stopSignal());
      const report = reportOf(findings, version, Math.round(performance.now() - begunMs) / 1000);
      console.log(flags.json === true ? JSON.stringify(report, undefined, 2) : doctorText(report, paint));
      if (!report.ok) throw new CommandFailed();
    } finally {
      await close();
    }
  });
}

/** A configuration that is refused is a finding like any other. */
function load(file: string | undefined): {
  config: Config | undefined;
  checked: ConfigWorld;
  /** Warnings that need not be told again as the running node's. */
  known: readonly string[];
} {
  const read = file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : undefined);
  try {
    const { config, warnings } = loadConfig({ file, env: process.env });
    return {
      config,
      checked: { file: read, warnings: settingWarnings(config), problems: [] },
      known: warnings,
    };
  } catch (error) {
    if (!hasCode(error, 'config-invalid')) throw error;
    const [first = '', ...lines] = error.message.split('\n');
    const problems = lines.length === 0 ? [first] : lines.map((line) => line.trim());
    return { config: undefined, checked: { file: read, warnings: [], problems }, known: [] };
  }
}

/** A TLS port is not asked whether it is ours, since its certificate may be for any name. */
function plainProxy(config: Config | undefined) {
  return config?.proxy.tls === undefined
    ? config?.proxy.listen.find(({ kind }) => kind === 'tcp')
    : undefined;
}

/** styleText leaves colours out where NO_COLOR asks for it or stdout is no terminal. */
function paint(verdict: Verdict, text: string): string {
  return styleText(COLOURS[verdict], text, { stream: process.stdout });
}
