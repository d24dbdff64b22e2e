import { spawnSync } from 'node:child_process';
import { TOOL_ENV } from './commands.ts';

/** Everything that a lab needs of the kernel, in a namespace without a name that ends with its shell. */
const PROBE = `
  ip link add br0 type bridge &&
  ip link add p0 type veth peer name p1 &&
  tc qdisc add dev p0 root tbf rate 8mbit burst 64kb latency 25ms`;
const PROBE_TIMEOUT_MS = 10_000;

/** Why a test that makes network namespaces is left out here; false where it can run. */
export const cannotMakeNetns: string | false = reason();

function reason(): string | false {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const [tool, flag] of [['ip', '-V'] as const, ['tc', '-V'] as const]) {
    if (spawnSync(tool, [flag], { env: TOOL_ENV }).error !== undefined)
      return `${tool} is not installed (Debian: iproute2)`;
  }
  const probe = spawnSync('unshare', ['--net', 'sh', '-c', PROBE], {
    env: TOOL_ENV,
    encoding: 'utf8',
    timeout: PROBE_TIMEOUT_MS,
  });
  if (probe.status === 0) return false;
  const said = probe.stderr?.trim().split('\n')[0] || probe.error?.message || `exit code ${probe.status}`;
  return `network namespaces with shaped links cannot be made here: ${said}`;
}
