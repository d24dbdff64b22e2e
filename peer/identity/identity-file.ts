import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DamselflyError } from '../../src/errors.ts';
import { Identity } from './identity.ts';

/** In `cache.dir`; kept by `cache rm` and by eviction (src/store/layout.ts). */
export const IDENTITY_FILE = 'identity.key';

/**
 * The node's identity, made when there is none yet. The caller holds the lock of `dir`.
 * @throws DamselflyError `identity-unusable`: a damaged key is never replaced behind the operator's back, since other
 * members know the node by it.
 */
export async function loadIdentity(dir: string): Promise<Identity> {
  const path = join(dir, IDENTITY_FILE);
  const pem = await readOrNull(path);
  if (pem !== null) return parse(path, pem);
  const identity = Identity.generate();
  await write(dir, path, identity.toPem());
  return identity;
}

async function readOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw unusable(path, `cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
}

function parse(path: string, pem: string): Identity {
  try {
    return Identity.fromPem(pem);
  } catch (error) {
    throw unusable(path, 'is damaged: it holds no Ed25519 private key in PEM form', error);
  }
}

/** Whole or not at all, and on the disk before anybody is told the name that follows from it. */
async function write(dir: string, path: string, pem: string): Promise<void> {
  // One name, so that what a crash left behind is overwritten and does not pile up.
  const draft = `${path}.new`;
  try {
    const file = await open(draft, 'w', 0o600);
    try {
      // The mode above counts only for a file that was not there.
      await file.chmod(0o600);
      await file.writeFile(pem);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
    const folder = await open(dir, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    throw unusable(path, `cannot be written (${(error as NodeJS.ErrnoException).code})`, error);
  }
}

function unusable(path: string, what: string, cause: unknown): DamselflyError {
  return new DamselflyError(
    'identity-unusable',
    `the node's key ${path} ${what}; mend its rights, put it back from a copy, or remove it: the node then makes a new one and joins under another name`,
    { facts: { path }, cause },
  );
}
