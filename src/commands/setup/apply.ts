import { relative } from 'node:path';
import type { PlannedFile } from '../../../config/clients/client-target.ts';
import { unusable } from '../../../config/clients/unusable.ts';
import { type Attributes, putFile, removeFile } from './atomic-file.ts';
import type { HostTree } from './host-tree.ts';
import { type Journal, type JournalFile, JournalStore, owner, sha256 } from './journal.ts';

export type FileState = 'new' | 'changed' | 'unchanged';

export interface WrittenFile {
  readonly path: string;
  readonly state: FileState;
  /** The copy of what was there before the first write; undefined: nothing was, or nothing was ever written. */
  readonly backup: string | undefined;
}

/** What writing a file would do. */
export function stateOf(tree: HostTree, file: PlannedFile): FileState {
  const bytes = tree.bytes(file.path);
  if (bytes === undefined) return 'new';
  return bytes.equals(Buffer.from(file.content)) ? 'unchanged' : 'changed';
}

/**
 * Writes files, each as a whole. First the copies of what is there and a record of what is about to happen reach the
 * disk, so that `--undo` mends whatever a crash leaves; when one of the files cannot be written, all are as they were.
 * @throws DamselflyError `client-config-unusable`.
 */
export function applyPlan(tree: HostTree, target: string, files: readonly PlannedFile[]): WrittenFile[] {
  const store = new JournalStore(tree, target);
  const states = new Map(files.map((file) => [file.path, stateOf(tree, file)]));
  const pending = files.filter(({ path }) => states.get(path) !== 'unchanged');
  for (const { path } of pending) {
    if (tree.isDangling(path)) throw unusable(path, 'is a symbolic link to nothing', 'mend or remove it');
  }
  const before = store.load();
  let journal = before;
  if (pending.length > 0) {
    journal = prepare(tree, store, before, pending);
    writeAll(tree, store, { before, journal, pending });
  }
  return files.map(({ path }) => ({
    path,
    state: states.get(path) ?? 'unchanged',
    backup: journal?.files.find((entry) => entry.path === path)?.backup ?? undefined,
  }));
}

/** Copies and record, before anything else changes. @returns the record. */
function prepare(
  tree: HostTree,
  store: JournalStore,
  before: Journal | undefined,
  pending: readonly PlannedFile[],
): Journal {
  const own = store.missingFolders(store.path);
  const folders = [
    ...new Set([
      ...(before?.folders ?? []),
      ...store.ownFolders(store.path),
      ...pending.flatMap(({ path }) => store.ownFolders(path)),
    ]),
  ];
  store.makeFolders(own);
  const made: JournalFile[] = [];
  try {
    const files = [...(before?.files ?? [])];
    for (const { content, path } of pending) {
      const written = sha256(Buffer.from(content));
      const index = files.findIndex((entry) => entry.path === path);
      const known = files[index];
      const entry = known === undefined ? newEntry(tree, store, path, written) : again(tree, known, written);
      if (known === undefined) made.push(entry);
      if (known === undefined) files.push(entry);
      else files[index] = entry;
    }
    const journal: Journal = { format: 1, folders, files };
    store.save(journal);
    return journal;
  } catch (error) {
    store.discard({ format: 1, folders: own, files: made });
    throw error;
  }
}

function newEntry(tree: HostTree, store: JournalStore, path: string, written: string): JournalFile {
  const bytes = tree.bytes(path);
  const stat = tree.stat(path);
  const { gid, mode, uid } = stat ?? owner(0o644);
  return {
    path,
    target: `/${relative(tree.root, tree.locate(path))}`,
    backup: bytes === undefined ? null : store.backUp(path, bytes),
    sha256Before: bytes === undefined ? null : sha256(bytes),
    mode: mode & 0o7777,
    uid,
    gid,
    sha256Written: [written],
    carriesEdits: false,
  };
}

function again(tree: HostTree, entry: JournalFile, written: string): JournalFile {
  const hash = hashOf(tree, entry.path);
  return {
    ...entry,
    sha256Written: [...new Set([...entry.sha256Written, written])],
    carriesEdits: entry.carriesEdits || !isOurs(entry, hash),
  };
}

interface Writing {
  readonly before: Journal | undefined;
  readonly journal: Journal;
  readonly pending: readonly PlannedFile[];
}

function writeAll(tree: HostTree, store: JournalStore, { before, journal, pending }: Writing): void {
  const undo: (() => void)[] = [];
  try {
    for (const { content, path } of pending) {
      const bytes = tree.bytes(path);
      const attributes: Attributes = tree.stat(path) ?? owner(0o644);
      store.makeFolders(store.missingFolders(path));
      const at = tree.locate(path);
      putFile(path, at, Buffer.from(content), attributes);
      undo.unshift(() => (bytes === undefined ? removeFile(path, at) : putFile(path, at, bytes, attributes)));
    }
  } catch (error) {
    for (const one of undo) one();
    if (before === undefined) store.remove(journal);
    else {
      store.save(before);
      store.discard(journal, before);
    }
    throw error;
  }
}

/** As setup left it or found it. */
export function isOurs(entry: JournalFile, hash: string | null): boolean {
  return hash === entry.sha256Before || (hash !== null && entry.sha256Written.includes(hash));
}

export function hashOf(tree: HostTree, path: string): string | null {
  const bytes = tree.bytes(path);
  return bytes === undefined ? null : sha256(bytes);
}
