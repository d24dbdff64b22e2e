import { formatAddress, type ListenAddress } from '../config/address.ts';
import { DamselflyError } from './errors.ts';

const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something else listens there: stop it, or choose another address',
  EACCES: 'this user may not: choose a port from 1024 on, or a folder that it may write to',
};

/** What is told of an address that cannot be had. @param key of the configuration. */
export function listenFailure(address: ListenAddress, key: string, cause: unknown): DamselflyError {
  const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  const text = formatAddress(address);
  const remedy = REMEDIES[reason] ?? 'choose an address that this host has';
  return new DamselflyError('listen-failed', `${key}: cannot listen on ${text} (${reason}); ${remedy}`, {
    facts: { key, address: text, reason },
    cause,
  });
}
