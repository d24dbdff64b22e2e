/** One behaviour that is taken away, and the tests that must see it. */
export interface Mutant {
  /** Also of the module in parts/ that stands in for the original. */
  readonly name: string;
  /** What a node without it does. */
  readonly effect: string;
  /** The module that is replaced, from the project's root. */
  readonly replaces: string;
  /** Which tests: a file from the project's root, and how the test's title begins. */
  readonly tests: readonly (readonly [file: string, title: string])[];
}

/** Names the mutant of this process. */
export const MUTANT_VARIABLE = 'DAMSELFLY_TEST_MUTANT';
/** A file that gets a line when the part was really put in. */
export const MARK_VARIABLE = 'DAMSELFLY_TEST_MUTANT_MARK';
