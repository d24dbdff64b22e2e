import { DamselflyError } from '../../src/errors.ts';

/** A file that cannot be understood or edited. @param why without a full stop; @param remedy in the imperative. */
export function unusable(path: string, why: string, remedy: string, cause?: unknown): DamselflyError {
  return new DamselflyError('client-config-unusable', `${path} ${why}: ${remedy}`, {
    cause,
    facts: { path },
  });
}
