export interface MetricSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a metrics page says, as numbers. */
export class MetricSamples {
  readonly all: readonly MetricSample[];

  private constructor(all: readonly MetricSample[]) {
    this.all = all;
  }

  /** @param text of Prometheus's text format. */
  static parse(text: string): MetricSamples {
    return new MetricSamples(text.split('\n').flatMap((line) => sample(line) ?? []));
  }

  /** The sum of the series of this name that have all these labels. @throws where there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const value = this.find(name, labels);
    if (value === undefined) throw new Error(`there is no metric ${name} with ${JSON.stringify(labels)}`);
    return value;
  }

  /** As `sum`; undefined where there is none. */
  find(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const wanted = Object.entries(labels);
    const series = this.all.filter(
      (one) => one.name === name && wanted.every(([label, value]) => one.labels[label] === value),
    );
    return series.length === 0 ? undefined : series.reduce((total, { value }) => total + value, 0);
  }
}

function sample(line: string): MetricSample | undefined {
  const [, name, labels = '', value] = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
  if (name === undefined || value === undefined) return undefined;
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
  return {
    name,
    labels: Object.fromEntries(pairs.map(([, label = '', text = '']) => [label, unescaped(text)])),
    value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
  };
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
}
