import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { HostFiles } from '../../../config/clients/host-files.ts';
import { unusable } from '../../../config/clients/unusable.ts';
import { reasonOf, systemCode } from '../failure.ts';

/** A configuration file is some kilobytes; a bound against whatever else lies there. */
const MAX_BYTES = 2 * 2 ** 20;
/** As Linux has it. */
const MAX_LINKS = 40;

/**
 * The files of a host whose root is a folder of ours. Symbolic links are followed as that host itself would: an absolute
 * one starts at its root, and none leads out of it.
 */
export class HostTree implements HostFiles {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /**
   * Where a path of the host really lies: below {@link root}, without symbolic links, whether or not it exists.
   * @throws DamselflyError `client-config-unusable`.
   */
  locate(path: string): string {
    const waiting = partsOf(path);
    const done: string[] = [];
    let links = 0;
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      if (part === '..') {
        done.pop();
        continue;
      }
      const at = join(this.root, ...done, part);
      const target = linkTarget(path, at);
      if (target === undefined) {
        done.push(part);
        continue;
      }
      links++;
      if (links > MAX_LINKS) throw unusable(path, 'is a loop of symbolic links', 'mend them');
      if (target.startsWith('/')) done.length = 0;
      waiting.unshift(...partsOf(target));
    }
    return join(this.root, ...done);
  }

  /** The bytes of a file; undefined when there is none. @throws DamselflyError `client-config-unusable`. */
  bytes(path: string): Buffer | undefined {
    return this.#look(path, (at) => {
      const stat = statSync(at);
      if (!stat.isFile()) throw unusable(path, 'is no regular file', 'put one there, or take it away');
      if (stat.size > MAX_BYTES) throw unusable(path, 'is larger than 2 MiB', 'is it the right file?');
      return readFileSync(at);
    });
  }

  read(path: string): string | undefined {
    const bytes = this.bytes(path);
    if (bytes === undefined) return undefined;
    try {
      // With its byte order mark, so that it is written back as it was.
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw unusable(path, 'is no text in UTF-8', 'is it the right file?', cause);
    }
  }

  list(folder: string): readonly string[] {
    return this.#look(folder, (at) => readdirSync(at).sort()) ?? [];
  }

  /** Mode and owner; undefined when there is no such file. */
  stat(path: string): Stats | undefined {
    return this.#look(path, (at) => statSync(at));
  }

  /** A symbolic link that leads to nothing would be made into a file elsewhere. */
  isDangling(path: string): boolean {
    const at = join(this.locate(dirname(path)), path.slice(path.lastIndexOf('/') + 1));
    return linkTarget(path, at) !== undefined && this.stat(path) === undefined;
  }

  #look<T>(path: string, look: (at: string) => T): T | undefined {
    const at = this.locate(path);
    try {
      return look(at);
    } catch (cause) {
      const code = systemCode(cause);
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      if (code === undefined || code.startsWith('client-')) throw cause;
      throw unusable(path, `cannot be read (${reasonOf(cause)})`, 'run this as root', cause);
    }
  }
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function linkTarget(path: string, at: string): string | undefined {
  try {
    return lstatSync(at).isSymbolicLink() ? readlinkSync(at) : undefined;
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw unusable(path, `cannot be looked up (${reasonOf(cause)})`, 'run this as root', cause);
  }
}
