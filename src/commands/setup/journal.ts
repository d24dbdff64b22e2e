import { createHash } from 'node:crypto';
import { z } from 'zod';
import { unusable } from '../../../config/clients/unusable.ts';
import { makeFolder, putFile, removeEmptyFolder, removeFile } from './atomic-file.ts';
import type { HostTree } from './host-tree.ts';

/** Beside the node's own configuration, so that nothing lies among the clients' files that they might read. */
const FOLDER = '/etc/damselfly/setup';
const PRIVATE = 0o600;

const fileSchema = z.strictObject({
  /** As the client sees it. */
  path: z.string(),
  /** Where that was written: behind symbolic links. */
  target: z.string(),
  /** The copy of what was there; null: nothing was. */
  backup: z.string().nullable(),
  sha256Before: z.string().nullable(),
  mode: z.number().int(),
  uid: z.number().int(),
  gid: z.number().int(),
  /** Of all that setup wrote there: a crash leaves an earlier one. */
  sha256Written: z.array(z.string()),
  /** A later run found a change of somebody else's, and kept it in what it wrote. */
  carriesEdits: z.boolean(),
});

const schema = z.strictObject({
  format: z.literal(1),
  /** Folders that setup made, outermost first. */
  folders: z.array(z.string()),
  files: z.array(fileSchema),
});

export type JournalFile = z.output<typeof fileSchema>;
export type Journal = z.output<typeof schema>;

/** What setup did for one client, and the copies of what was there before. Written before anything else is. */
export class JournalStore {
  readonly folder: string;
  readonly #tree: HostTree;

  constructor(tree: HostTree, target: string) {
    this.#tree = tree;
    this.folder = `${FOLDER}/${target}`;
  }

  get path(): string {
    return `${this.folder}/journal.json`;
  }

  load(): Journal | undefined {
    const text = this.#tree.read(this.path);
    if (text === undefined) return undefined;
    try {
      return schema.parse(JSON.parse(text));
    } catch (cause) {
      throw unusable(
        this.path,
        'is no record of setup',
        `take the copies in ${this.folder} back by hand`,
        cause,
      );
    }
  }

  save(journal: Journal): void {
    this.#put(this.path, Buffer.from(`${JSON.stringify(journal, undefined, 2)}\n`));
  }

  /** Keeps a copy. @returns its path. */
  backUp(path: string, bytes: Uint8Array): string {
    const copy = `${this.folder}/${path.slice(1).replaceAll('/', '__')}`;
    this.#put(copy, bytes);
    return copy;
  }

  /** Forgets everything; what setup made for itself goes as well. */
  remove(journal: Journal): void {
    for (const { backup } of journal.files)
      if (backup !== null) removeFile(backup, this.#tree.locate(backup));
    if (this.#tree.stat(this.path) !== undefined) removeFile(this.path, this.#tree.locate(this.path));
    this.#removeFolders(journal.folders);
  }

  /** Removes the copies and empty folders that a run made which came to nothing. @param kept of the run before. */
  discard(journal: Journal, kept?: Journal): void {
    const copies = new Set(kept?.files.map(({ backup }) => backup));
    for (const { backup } of journal.files)
      if (backup !== null && !copies.has(backup)) removeFile(backup, this.#tree.locate(backup));
    this.#removeFolders(journal.folders.filter((folder) => !(kept?.folders.includes(folder) ?? false)));
  }

  #removeFolders(folders: readonly string[]): void {
    for (const folder of folders.toReversed()) removeEmptyFolder(folder, this.#tree.locate(folder));
  }

  /** The folders above a path that are not there, outermost first. */
  missingFolders(path: string): string[] {
    return foldersAbove(path).filter((folder) => this.#tree.stat(folder) === undefined);
  }

  /** The same, and those that setup made for another client: whoever is undone last removes them. */
  ownFolders(path: string): string[] {
    const others = this.#foldersOfOthers();
    return foldersAbove(path).filter((folder) => others.has(folder) || this.#tree.stat(folder) === undefined);
  }

  #foldersOfOthers(): Set<string> {
    const stores = this.#tree.list(FOLDER).map((target) => new JournalStore(this.#tree, target));
    return new Set(
      stores
        .filter(({ folder }) => folder !== this.folder)
        .flatMap((store) => {
          try {
            return store.load()?.folders ?? [];
          } catch {
            // What is wrong with it is told to whoever asks for that client.
            return [];
          }
        }),
    );
  }

  makeFolders(folders: readonly string[]): void {
    for (const folder of folders)
      makeFolder(folder, this.#tree.locate(folder), folder.startsWith(FOLDER) ? 0o700 : 0o755);
  }

  #put(path: string, bytes: Uint8Array): void {
    putFile(path, this.#tree.locate(path), bytes, owner(PRIVATE));
  }
}

/** Outermost first, the root left out. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(1, -1);
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
}

/** Of a file that is made anew. */
export function owner(mode: number): { mode: number; uid: number; gid: number } {
  return { mode, uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
