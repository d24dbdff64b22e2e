import { existsSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import type { ListenAddress } from './address.ts';
import { formatAddress } from './address.ts';
import type { Config } from './schema.ts';

/** What is allowed but deserves a word at start: one sentence each. */
export function warningsOf(config: Config): string[] {
  return [...fileWarnings(config), ...settingWarnings(config)];
}

function fileWarnings(config: Config): string[] {
  const { origins } = config;
  const warnings = secretFiles(config).flatMap(([key, file]) => {
    return readableByOthers(file)
      ? [`${key}: ${file} can be read by other users of this host; chmod 600 keeps it to its owner`]
      : [];
  });
  for (const [index, { credentialsFile }] of origins.entries()) {
    if (credentialsFile !== undefined && !existsSync(credentialsFile))
      warnings.push(
        `origins[${index}].credentialsFile: ${credentialsFile} is not there; without it this node reads that origin as nobody`,
      );
  }
  return warnings;
}

/** Those that can be told from the values alone. */
export function settingWarnings({ proxy, peer, access }: Config): string[] {
  const warnings: string[] = [];
  if (peer.enabled && peer.networkKeyFile === undefined)
    warnings.push(
      'peer.insecure: peers without a network key: anybody who reaches the peer ports is a member; make a key with `damselfly peers keygen`',
    );
  const open = proxy.listen.find((address) => !isLocal(address));
  if (access.mode === 'node' && open !== undefined)
    warnings.push(
      `access.mode: node, and ${formatAddress(open)} is reachable from elsewhere: whoever reaches it may read what this node may`,
    );
  return warnings;
}

function secretFiles(config: Config): [key: string, file: string][] {
  const { proxy, peer, admin, origins } = config;
  const files: [string, string | undefined][] = [
    ['peer.networkKeyFile', peer.networkKeyFile],
    ['admin.tokenFile', admin.tokenFile],
    ['proxy.tls.keyFile', proxy.tls?.keyFile],
    ['proxy.intercept.caKeyFile', proxy.intercept.ca?.keyFile],
    ...proxy.listeners.map((listener, index): [string, string | undefined] => [
      `proxy.listeners[${index}].tls.keyFile`,
      listener.tls?.keyFile,
    ]),
    ...origins.map((origin, index): [string, string | undefined] => [
      `origins[${index}].credentialsFile`,
      origin.credentialsFile,
    ]),
  ];
  return files.filter((entry): entry is [string, string] => entry[1] !== undefined);
}

/** A file that cannot be looked at is somebody else's error: the part that reads it says so. */
function readableByOthers(file: string): boolean {
  try {
    return (statSync(file).mode & 0o004) !== 0;
  } catch {
    return false;
  }
}

function isLocal(address: ListenAddress): boolean {
  if (address.kind === 'unix' || address.host === 'localhost' || address.host === '::1') return true;
  return isIP(address.host) === 4 && address.host.startsWith('127.');
}
