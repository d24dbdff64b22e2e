import { identify } from '@libp2p/identify';
import type { Libp2p } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { DamselflyError } from '../../src/errors.ts';
import type { Identity } from '../identity/identity.ts';
import type { NetworkProtector } from './network-protector.ts';
import { quietLogger } from './quiet-logger.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const SERVICE_TAG = '_damselfly._udp.local';

export interface Libp2pNodeOptions {
  readonly identity: Identity;
  readonly protector: NetworkProtector;
  /** Multiaddrs. */
  readonly listen: readonly string[];
  /** Finds and is found by multicast DNS. */
  readonly mdns: boolean;
}

/**
 * The one libp2p node of this process: TCP, the private network, noise, yamux. libp2p's defaults are for a public network
 * of strangers; a swarm of one operator's nodes, which may all start in one second behind one address, needs others.
 * It does not listen yet.
 */
export async function createLibp2pNode(options: Libp2pNodeOptions): Promise<Libp2p> {
  const { identity, protector, listen } = options;
  // Loaded only where it is used: it brings a DNS codec with it.
  const discovery = options.mdns ? [(await import('@libp2p/mdns')).mdns({ serviceTag: SERVICE_TAG })] : [];
  return createLibp2p({
    privateKey: identity.libp2pKey(),
    start: false,
    logger: quietLogger,
    addresses: { listen: listen.map((address) => address.replace(/\/p2p\/\w+$/, '')) },
    transports: [tcp()],
    connectionProtector: () => protector,
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        streamOptions: {
          // A paused stream stops its sender before the read buffer's limit would abort it.
          initialStreamWindowSize: 256 * KIB,
          maxStreamWindowSize: 1 * MIB,
          maxReadBufferLength: 8 * MIB,
        },
      }),
    ],
    peerDiscovery: discovery,
    // Answers others; the member table knows all that it would ask, for less than a stream and two writes per connection.
    services: { identify: identify({ runOnConnectionOpen: false }) },
    connectionManager: {
      maxConnections: 1_024,
      inboundConnectionThreshold: 1_000,
      maxIncomingPendingConnections: 256,
      maxParallelDials: 32,
      dialTimeout: 5_000,
      addressDialTimeout: 2_500,
      inboundUpgradeTimeout: 8_000,
      outboundStreamProtocolNegotiationTimeout: 5_000,
      inboundStreamProtocolNegotiationTimeout: 5_000,
      connectionCloseTimeout: 500,
      reconnectRetries: 0,
    },
    // Under load its pings come late, and it would abort sound connections; heartbeats watch over links.
    connectionMonitor: { enabled: false },
  });
}

/** @throws DamselflyError `listen-failed` */
export async function listenOn(node: Libp2p, listen: readonly string[]): Promise<void> {
  try {
    await node.start();
  } catch (cause) {
    throw listenFailed(listen, cause);
  }
}

function listenFailed(listen: readonly string[], cause: unknown): DamselflyError {
  const reason =
    /\b(EADDRINUSE|EACCES|EADDRNOTAVAIL)\b/.exec(String((cause as Error).message))?.[1] ?? 'unknown';
  const remedy =
    reason === 'EADDRINUSE'
      ? 'something else listens there: stop it, or choose another address'
      : 'choose an address and port that this host has and this user may listen on';
  const addresses = listen.join(', ');
  return new DamselflyError(
    'listen-failed',
    `peer.listen: cannot listen on ${addresses} (${reason}); ${remedy}`,
    {
      facts: { key: 'peer.listen', address: addresses, reason },
      cause,
    },
  );
}
