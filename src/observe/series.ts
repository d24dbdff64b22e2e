import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Registers series of which every combination of label values is there from the start, at 0. */
export class Series {
  readonly #registers: Registry[];

  constructor(registry: Registry) {
    this.#registers = [registry];
  }

  counter<L extends string = never>(
    name: string,
    help: string,
    labels: Readonly<Record<L, readonly string[]>>,
  ): Counter<L> {
    const labelNames = Object.keys(labels) as L[];
    const counter = new Counter<L>({ name, help, labelNames, registers: this.#registers });
    if (labelNames.length === 0) return counter;
    for (const values of combinations(Object.entries(labels) as [string, readonly string[]][]))
      counter.inc(values as Partial<Record<L, string>>, 0);
    return counter;
  }

  /** Of times from half a millisecond to five seconds. */
  histogram(name: string, help: string): Histogram {
    return new Histogram({ name, help, buckets: SECONDS, registers: this.#registers });
  }

  /** @param read its value at a scrape. */
  level(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: this.#registers,
      collect() {
        this.set(read());
      },
    });
  }

  /** @param read a value for each value of the label at a scrape. */
  levels<V extends string>(
    name: string,
    help: string,
    label: string,
    read: () => Readonly<Record<V, number>>,
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: this.#registers,
      collect() {
        for (const [value, number] of Object.entries<number>(read())) this.set({ [label]: value }, number);
      },
    });
  }
}

function combinations(labels: readonly (readonly [string, readonly string[]])[]): Record<string, string>[] {
  return labels.reduce<Record<string, string>[]>(
    (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
}
