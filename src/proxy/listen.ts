import { lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import { formatAddress, type ListenAddress } from '../../config/address.ts';
import { DamselflyError } from '../errors.ts';

/**
 * Binds a server. The file of a unix socket that nobody listens on any more (a kill -9 leaves it) is taken over.
 * @returns the address with the port that the system chose.
 * @throws DamselflyError `listen-failed`.
 */
export async function listen(server: Server, address: ListenAddress): Promise<ListenAddress> {
  try {
    await bind(server, address);
  } catch (error) {
    if (address.kind !== 'unix' || !hasErrno(error, 'EADDRINUSE') || !(await isStale(address.path)))
      throw failed(address, error);
    try {
      unlinkSync(address.path);
      await bind(server, address);
    } catch (again) {
      throw failed(address, again);
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

function failed(address: ListenAddress, cause: unknown): DamselflyError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  const text = formatAddress(address);
  const remedy =
    reason === 'EADDRINUSE'
      ? 'something else listens there: stop it, or choose another address'
      : reason === 'EACCES'
        ? 'this user may not: choose a port from 1024 on, or a folder that it may write to'
        : 'choose an address that this host has';
  return new DamselflyError('listen-failed', `Cannot listen on ${text} (${reason}); ${remedy}`, {
    facts: { address: text, reason },
    cause,
  });
}

function hasErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
