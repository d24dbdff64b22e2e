import type { ListenAddress } from '../../config/address.ts';
import type { Config } from '../../config/schema.ts';
import type { KeyFile } from './checks/key-files.ts';

/** What a node would listen on, with its keys. */
export function addressesOf(config: Config): { key: string; address: ListenAddress }[] {
  const { proxy, admin, metrics, peer } = config;
  const each = (key: string, addresses: readonly ListenAddress[]) =>
    addresses.map((address) => ({ key, address }));
  return [
    ...each('proxy.listen', proxy.listen),
    ...proxy.listeners.flatMap(({ listen }, index) => each(`proxy.listeners[${index}].listen`, listen)),
    ...each('metrics.listen', metrics.listen),
    ...each('admin.listen', admin.listen),
    ...(peer.enabled ? each('peer.dataListen', peer.dataListen) : []),
    ...(peer.enabled ? each('peer.listen', peer.listen.map(ofMultiaddr)) : []),
  ];
}

/** `/ip4/0.0.0.0/tcp/4006`, checked by the schema. */
function ofMultiaddr(text: string): ListenAddress {
  const [, , host = '', , port = ''] = text.split('/');
  return { kind: 'tcp', host, port: Number(port) };
}

/** The files that the configuration names. */
export function keyFilesOf(config: Config): KeyFile[] {
  const { proxy, peer, admin, origins } = config;
  const secret = (key: string, path: string | undefined, mayBeMissing = false) => [
    { key, path, isSecret: true, mayBeMissing },
  ];
  const plain = (key: string, path: string | undefined) => [
    { key, path, isSecret: false, mayBeMissing: false },
  ];
  const files = [
    ...secret('peer.networkKeyFile', peer.networkKeyFile),
    ...secret('admin.tokenFile', admin.tokenFile),
    ...secret('proxy.tls.keyFile', proxy.tls?.keyFile),
    ...plain('proxy.tls.certFile', proxy.tls?.certFile),
    ...secret('proxy.intercept.caKeyFile', proxy.intercept.ca?.keyFile),
    ...plain('proxy.intercept.caCertFile', proxy.intercept.ca?.certFile),
    ...proxy.listeners.flatMap(({ tls }, index) => [
      ...secret(`proxy.listeners[${index}].tls.keyFile`, tls?.keyFile),
      ...plain(`proxy.listeners[${index}].tls.certFile`, tls?.certFile),
    ]),
    ...origins.flatMap(({ credentialsFile, ca }, index) => [
      ...secret(`origins[${index}].credentialsFile`, credentialsFile, true),
      ...plain(`origins[${index}].ca`, ca),
    ]),
  ];
  return files.flatMap(({ path, ...rest }) => (path === undefined ? [] : [{ ...rest, path }]));
}
