import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { Option } from 'commander';
import { type ListenAddress, tcpAddress } from '../../config/address.ts';
import { REFUSED } from '../../config/field.ts';
import { loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { DamselflyError } from '../errors.ts';
import { reasonOf, UsageError } from './failure.ts';

/** Where a part of the node can be reached from this host. */
export type NodeAddress =
  | {
      readonly kind: 'tcp';
      /** `127.0.0.1:4001`, `[::1]:4001`. */
      readonly host: string;
      /** The certificate that the proxy port shows, PEM; undefined: plain http. */
      readonly certificate: string | undefined;
    }
  | { readonly kind: 'unix'; readonly path: string };

/** What every command that speaks to a node takes. */
export interface NodeFlags {
  readonly config?: string;
  readonly node?: string;
  readonly admin?: string;
}

export function nodeOptions(): Option[] {
  return [
    configOption(),
    new Option('--node <host:port>', "the node's proxy address, in place of proxy.listen"),
    new Option('--admin <host:port>', "the node's admin address, in place of admin.listen"),
  ];
}

export function configOption(): Option {
  return new Option(
    '-c, --config <file>',
    'configuration file (default: /etc/damselfly/damselfly.yaml if it exists)',
  );
}

export interface FoundNode {
  readonly config: Config;
  /** undefined when the configured port is 0, which only the running node knows. */
  readonly proxy: NodeAddress | undefined;
  readonly admin: NodeAddress | undefined;
  /** For messages: where the addresses come from. */
  readonly adminText: string;
}

/** The node that a command means: by `--node` and `--admin`, else by the configuration that the node itself reads. */
export function findNode(flags: NodeFlags): FoundNode {
  const { config } = loadConfig({ file: flags.config, env: process.env });
  const proxy = flags.node === undefined ? config.proxy.listen[0] : flagAddress(flags.node, '--node');
  const admin = flags.admin === undefined ? config.admin.listen[0] : flagAddress(flags.admin, '--admin');
  const certFile = flags.node === undefined ? config.proxy.tls?.certFile : undefined;
  const adminAddress = reachable(admin, undefined);
  return {
    config,
    proxy: reachable(proxy, certFile),
    admin: adminAddress,
    adminText: adminAddress?.kind === 'tcp' ? adminAddress.host : 'the address of admin.listen',
  };
}

export function flagAddress(text: string, flag: string): ListenAddress {
  const address = tcpAddress(text);
  if (address === REFUSED || address.port === 0)
    throw new UsageError(`${flag} is ${JSON.stringify(text)}; expected host:port such as 127.0.0.1:4001`);
  return address;
}

/** A wildcard listen address is reached by loopback. */
function reachable(
  address: ListenAddress | undefined,
  certFile: string | undefined,
): NodeAddress | undefined {
  if (address === undefined) return undefined;
  if (address.kind === 'unix') return address;
  if (address.port === 0) return undefined;
  const host = address.host === '0.0.0.0' ? '127.0.0.1' : address.host === '::' ? '::1' : address.host;
  return {
    kind: 'tcp',
    host: `${isIPv6(host) ? `[${host}]` : host}:${address.port}`,
    certificate: certFile === undefined ? undefined : readSecretless(certFile),
  };
}

/** `host:port` at which a listen address is reached from this host; undefined where only the running node knows. */
export function reachableText(address: ListenAddress | undefined): string | undefined {
  const reached = reachable(address, undefined);
  return reached?.kind === 'tcp' ? reached.host : undefined;
}

function readSecretless(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new DamselflyError(
      'config-invalid',
      `proxy.tls.certFile ${file} cannot be read: ${reasonOf(cause)}. Make it readable, or name the node with --node`,
      { cause },
    );
  }
}
