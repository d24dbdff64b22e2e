import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { unusable } from '../../../config/clients/unusable.ts';
import { reasonOf, systemCode } from '../failure.ts';

export interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Puts a file in place as a whole, or not at all. The folder must exist.
 * @param shown its path as the host has it, for messages. @throws DamselflyError `client-config-unusable`.
 */
export function putFile(shown: string, at: string, bytes: Uint8Array, attributes: Attributes): void {
  const draft = join(dirname(at), `.${basename(at)}.damselfly-${process.pid}`);
  told(shown, 'cannot be written', () => {
    const file = openSync(draft, 'wx', 0o600);
    try {
      try {
        writeFileSync(file, bytes);
        fchownSync(file, attributes.uid, attributes.gid);
        // After the owner, since changing that clears some bits.
        fchmodSync(file, attributes.mode & 0o7777);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(draft, at);
    } catch (cause) {
      rmSync(draft, { force: true });
      throw cause;
    }
    syncFolder(dirname(at));
  });
}

export function removeFile(shown: string, at: string): void {
  told(shown, 'cannot be removed', () => {
    rmSync(at, { force: true });
    syncFolder(dirname(at));
  });
}

/** Makes a folder whose parent exists; one that is there is fine. */
export function makeFolder(shown: string, at: string, mode: number): void {
  told(shown, 'cannot be made', () => {
    try {
      mkdirSync(at, { mode });
    } catch (cause) {
      if (systemCode(cause) !== 'EEXIST') throw cause;
    }
  });
}

/** Removes a folder unless something is in it. */
export function removeEmptyFolder(shown: string, at: string): void {
  told(shown, 'cannot be removed', () => {
    try {
      rmdirSync(at);
    } catch (cause) {
      if (!['ENOENT', 'ENOTDIR', 'ENOTEMPTY', 'EEXIST'].includes(systemCode(cause) ?? '')) throw cause;
    }
  });
}

/** So that what was renamed is there after a power cut too; not every file system can. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } catch (cause) {
    if (!['EINVAL', 'ENOTSUP', 'EBADF'].includes(systemCode(cause) ?? '')) throw cause;
  } finally {
    closeSync(handle);
  }
}

function told(shown: string, what: string, act: () => void): void {
  try {
    act();
  } catch (cause) {
    const code = systemCode(cause);
    const remedy =
      code === 'EACCES' || code === 'EPERM'
        ? 'run this as root'
        : code === 'EBUSY'
          ? 'it is a mount of its own; run this where the file itself lies'
          : 'mend that, and run this again';
    throw unusable(shown, `${what} (${reasonOf(cause)})`, remedy, cause);
  }
}
