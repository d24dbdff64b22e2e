import { Option } from 'commander';

/** An option that may be given any number of times: a list, and undefined when it is not given. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, description).argParser((value: string, all: readonly string[] = []) => [
    ...all,
    value,
  ]);
}
