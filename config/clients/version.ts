/** `2.3.5` against another, by numbers; what follows the third number does not count. @returns <0, 0 or >0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [numbersOf(a), numbersOf(b)];
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * The version that a program tells of itself with `--version`; undefined when it does not know it (nydusd 2.2.0 says
 * "unknown", and beside it the version of its compiler).
 */
export function versionIn(text: string): string | undefined {
  const own = text
    .split('\n')
    .filter((line) => !/rustc|go version|build time/i.test(line))
    .join('\n');
  return /(?<![\d.])v?(\d+\.\d+\.\d+)/.exec(own)?.[1];
}

function numbersOf(version: string): number[] {
  return version.split(/[.+~-]/, 3).map(Number);
}
