import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { DamselflyError } from '../src/errors.ts';
import type { TlsFiles } from './sections/proxy.ts';

/**
 * A file that the configuration names.
 * @param key the key that names it, for whoever has to mend it.
 * @throws DamselflyError config-invalid.
 */
export function readSetting(key: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new DamselflyError(
      'config-invalid',
      `${key}: ${path} cannot be read (${reason}); name a file that this user may read`,
      { facts: { key, path }, cause },
    );
  }
}

/** @throws DamselflyError config-invalid for files that are no certificate and key, or do not belong together. */
export function readTlsPair(key: string, files: TlsFiles): { readonly cert: string; readonly key: string } {
  const pair = {
    cert: readSetting(`${key}.certFile`, files.certFile),
    key: readSetting(`${key}.keyFile`, files.keyFile),
  };
  try {
    createSecureContext(pair);
    return pair;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown';
    throw new DamselflyError(
      'config-invalid',
      `${key}: ${files.certFile} and ${files.keyFile} are no PEM certificate and its private key (${reason})`,
      { facts: { key }, cause },
    );
  }
}
