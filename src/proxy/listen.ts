import { lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import type { ListenAddress } from '../../config/address.ts';
import { listenFailure } from '../listen-failure.ts';

/**
 * Binds a server. The file of a unix socket that nobody listens on any more (a kill -9 leaves it) is taken over.
 * @param key of the configuration, named when the address cannot be had.
 * @returns the address with the port that the system chose.
 * @throws DamselflyError `listen-failed`.
 */
export async function listen(server: Server, address: ListenAddress, key: string): Promise<ListenAddress> {
  try {
    await bind(server, address);
  } catch (error) {
    if (address.kind !== 'unix' || !hasErrno(error, 'EADDRINUSE') || !(await isStale(address.path)))
      throw listenFailure(address, key, error);
    try {
      unlinkSync(address.path);
      await bind(server, address);
    } catch (again) {
      throw listenFailure(address, key, again);
    }
  }
  const bound = server.address();
  return address.kind === 'unix' || bound === null || typeof bound === 'string'
    ? address
    : { ...address, port: bound.port };
}

function bind(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error) => {
      server.off('error', settle);
      server.off('listening', settle);
      if (error === undefined) resolve();
      else reject(error);
    };
    server.once('error', settle);
    server.once('listening', settle);
    if (address.kind === 'unix') server.listen({ path: address.path });
    else server.listen({ host: address.host, port: address.port });
  });
}

/** A socket that refuses connections; a plain file in its place is somebody's property. */
async function isStale(path: string): Promise<boolean> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return false;
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error) => resolve(hasErrno(error, 'ECONNREFUSED')));
  });
}

function hasErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
