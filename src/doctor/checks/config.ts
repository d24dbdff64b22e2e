import { type Found, failed, ok, warning } from '../check.ts';

export interface ConfigWorld {
  /** The file that was read; undefined: none. */
  readonly file: string | undefined;
  readonly warnings: readonly string[];
  /** Of a configuration that is refused: one line per problem. */
  readonly problems: readonly string[];
}

export async function checkConfig({ file, warnings, problems }: ConfigWorld): Promise<Found[]> {
  const subject = file ?? 'no file';
  if (problems.length > 0)
    return problems.map((problem) =>
      failed(
        subject,
        problem,
        'Mend it; docs/configuration.md has every key. What depends on it was not checked',
      ),
    );
  const found = warnings.map((text) => warning(subject, text, 'See docs/configuration.md'));
  return [
    ok(
      subject,
      file === undefined ? 'every key has its default, or comes from the environment' : 'is understood',
    ),
    ...found,
  ];
}
