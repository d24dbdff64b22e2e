import { DamselflyError } from '../../errors.ts';
import { hashOf, isOurs } from './apply.ts';
import { putFile, removeFile } from './atomic-file.ts';
import type { HostTree } from './host-tree.ts';
import { type Journal, type JournalFile, JournalStore, owner } from './journal.ts';

export interface UndoneFile {
  readonly path: string;
  readonly state: 'restored' | 'removed' | 'unchanged';
  /** Where a change of somebody else's was put with `--force`. */
  readonly saved: string | undefined;
}

/**
 * Puts everything back that setup ever wrote for a client, or nothing. @returns undefined when there is nothing to undo.
 * @param force also a file that somebody changed since; what it held is kept beside it.
 * @throws DamselflyError `client-config-changed`, `client-config-unusable`.
 */
export function undoSetup(tree: HostTree, target: string, force: boolean): UndoneFile[] | undefined {
  const store = new JournalStore(tree, target);
  const journal = store.load();
  if (journal === undefined) return undefined;
  if (!force) refuseEdits(tree, journal);
  const undone = journal.files.map((entry) => putBack(tree, entry));
  store.remove(journal);
  return undone;
}

function refuseEdits(tree: HostTree, journal: Journal): void {
  const edited = journal.files.filter((entry) => isEdited(tree, entry));
  if (edited.length === 0) return;
  const each = edited.map(({ backup, path }) =>
    backup === null ? `${path} (before setup there was none)` : `${path} (before setup: ${backup})`,
  );
  throw new DamselflyError(
    'client-config-changed',
    `changed since setup wrote it, so nothing was undone: ${each.join(', ')}. ` +
      'Take your change out or merge the two by hand, or undo with --force, which keeps it in a file beside',
    { facts: { path: edited[0]?.path } },
  );
}

function isEdited(tree: HostTree, entry: JournalFile): boolean {
  const hash = hashOf(tree, entry.path);
  if (hash === entry.sha256Before) return false;
  return entry.carriesEdits || !isOurs(entry, hash);
}

function putBack(tree: HostTree, entry: JournalFile): UndoneFile {
  const { backup, path } = entry;
  const hash = hashOf(tree, path);
  if (hash === entry.sha256Before) return { path, state: 'unchanged', saved: undefined };
  const at = tree.locate(entry.target);
  const saved = isEdited(tree, entry) ? keep(tree, path) : undefined;
  if (backup === null) {
    removeFile(path, at);
    return { path, state: 'removed', saved };
  }
  const bytes = tree.bytes(backup);
  if (bytes === undefined) {
    throw new DamselflyError(
      'client-config-unusable',
      `${backup}, the copy of ${path}, is gone: restore ${path} by hand`,
      { facts: { path } },
    );
  }
  putFile(path, at, bytes, entry);
  return { path, state: 'restored', saved };
}

/** The first free name beside it. */
function keep(tree: HostTree, path: string): string | undefined {
  const bytes = tree.bytes(path);
  if (bytes === undefined) return undefined;
  let name = `${path}.before-undo`;
  for (let index = 2; tree.stat(name) !== undefined; index++) name = `${path}.before-undo-${index}`;
  putFile(name, tree.locate(name), bytes, tree.stat(path) ?? owner(0o600));
  return name;
}
