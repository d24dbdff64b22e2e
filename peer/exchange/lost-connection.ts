import { DamselflyError } from '../../src/errors.ts';

/** A connection went while a question was under way; `isUnheard`: not a word of the answer had come. */
export class LostConnection extends DamselflyError {
  readonly isUnheard: boolean;

  constructor(cause: DamselflyError, isUnheard: boolean) {
    super(cause.code, cause.message, { cause });
    this.isUnheard = isUnheard;
  }
}
