import { type Found, failed, ok, skipped, warning } from '../check.ts';

export interface KeyFile {
  /** Its key in the configuration, or what it is. */
  readonly key: string;
  readonly path: string;
  /** For the node's user alone. */
  readonly isSecret: boolean;
  /** The node starts without it. */
  readonly mayBeMissing: boolean;
}

export interface KeyFilesWorld {
  readonly files: readonly KeyFile[];
  /** The mode of a file that this user can read; else the errno's name. */
  modeOf(path: string): Promise<number | string>;
}

/** Keys, tokens, logins and certificates: there, readable by this user, and what is secret by nobody else. */
export async function checkKeyFiles(world: KeyFilesWorld): Promise<Found[]> {
  if (world.files.length === 0) return [skipped(undefined, 'the configuration names none')];
  const found = await Promise.all(
    world.files.map(async (file) => judge(file, await world.modeOf(file.path))),
  );
  return found.flat();
}

function judge({ key, path, isSecret, mayBeMissing }: KeyFile, mode: number | string): Found[] {
  const subject = `${key} ${path}`;
  if (typeof mode === 'number') {
    if (!isSecret || (mode & 0o004) === 0) return [ok(subject, `mode ${(mode & 0o777).toString(8)}`)];
    return [warning(subject, 'other users of this host can read it', `chmod 600 ${path}`)];
  }
  if (mode === 'ENOENT' && mayBeMissing)
    return [
      warning(
        subject,
        'is not there: the node reads that origin as nobody',
        'Create it, or take the key out of the configuration',
      ),
    ];
  if (mode === 'ENOENT')
    return [
      failed(
        subject,
        'is not there: the node will not start',
        'Create it, or take the key out of the configuration',
      ),
    ];
  return [
    failed(
      subject,
      `this user cannot read it (${mode})`,
      'Give it to the user that the node runs as, with mode 600',
    ),
  ];
}
