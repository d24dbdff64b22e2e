import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** The values that each label may have. */
type Labels<L extends string> = Readonly<Record<L, readonly string[]>>;

/** Registers series of which every combination of label values is there from the start, at 0. */
export class Series {
  readonly #registers: Registry[];

  constructor(registry: Registry) {
    this.#registers = [registry];
  }

  counter<L extends string = never>(name: string, help: string, labels?: Labels<L>): Counter<L> {
    const labelNames = namesOf(labels);
    const counter = new Counter<L>({ name, help, labelNames, registers: this.#registers });
    if (labelNames.length === 0) return counter;
    for (const values of combinations(labels)) counter.inc(values, 0);
    return counter;
  }

  /** @param buckets by default of times from half a millisecond to five seconds. */
  histogram<L extends string = never>(
    name: string,
    help: string,
    { labels, buckets = SECONDS }: { labels?: Labels<L>; buckets?: readonly number[] } = {},
  ): Histogram<L> {
    const labelNames = namesOf(labels);
    const registers = this.#registers;
    const histogram = new Histogram<L>({ name, help, labelNames, buckets: [...buckets], registers });
    for (const values of combinations(labels)) histogram.zero(values);
    return histogram;
  }

  /** @param labelNames of labels whose values are not known beforehand; such a series begins when it is first set. */
  gauge<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge<L>({ name, help, labelNames: [...labelNames], registers: this.#registers });
  }

  /** @param read its value at a scrape. */
  level(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name,
      help,
      registers: this.#registers,
      async collect() {
        this.set(await read());
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

function namesOf<L extends string>(labels: Labels<L> | undefined): L[] {
  return Object.keys(labels ?? {}) as L[];
}

function combinations<L extends string>(labels: Labels<L> | undefined): Partial<Record<L, string>>[] {
  return Object.entries<readonly string[]>(labels ?? {}).reduce<Partial<Record<string, string>>[]>(
    (rows, [name, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))),
    [{}],
  );
}
