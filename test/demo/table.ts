import { formatBytes } from '../../src/commands/quantity.ts';

export interface Row {
  readonly step: string;
  /** Bytes that clients asked for and got. */
  readonly requested: number;
  /** Bytes that the registry sent, counted there. */
  readonly fromOrigin: number;
  /** Bytes that nodes received from each other, by their own count. */
  readonly fromPeers: number;
  readonly ms: number;
}

const HEADINGS = [
  '',
  'requested',
  'from origin',
  'from peers',
  'from cache',
  'time',
  'amplification',
] as const;

/** `from cache` is what clients got and neither the registry nor another node had to send. */
function cells({ step, requested, fromOrigin, fromPeers, ms }: Row): string[] {
  return [
    step,
    formatBytes(requested),
    formatBytes(fromOrigin),
    formatBytes(fromPeers),
    formatBytes(Math.max(0, requested - fromOrigin - fromPeers)),
    ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`,
    `${(requested === 0 ? 0 : fromOrigin / requested).toFixed(2)} ×`,
  ];
}

/** Prints a table row by row, as the steps end. */
export class Table {
  readonly #print: (line: string) => void;
  readonly #widths: readonly number[];

  constructor(steps: readonly string[], print: (line: string) => void) {
    this.#print = print;
    const first = Math.max(...steps.map((step) => step.length));
    this.#widths = HEADINGS.map((heading, column) => (column === 0 ? first : Math.max(heading.length, 10)));
    this.#line([...HEADINGS]);
    this.#print(`  ${this.#widths.map((width) => '─'.repeat(width)).join('  ')}`);
  }

  add(row: Row): void {
    this.#line(cells(row));
  }

  #line(values: readonly string[]): void {
    const padded = values.map((value, column) => {
      const width = this.#widths[column] ?? 0;
      return column === 0 ? value.padEnd(width) : value.padStart(width);
    });
    this.#print(`  ${padded.join('  ')}`);
  }
}
