import type { Counter, Gauge } from 'prom-client';

/** Over all label values. */
export async function sumOf<L extends string>(series: Counter<L> | Gauge<L>): Promise<number> {
  let sum = 0;
  for (const { value } of (await series.get()).values) sum += value;
  return sum;
}

/** For each of these values of a label, the sum over all other labels. */
export async function byLabel<L extends string, V extends string>(
  counter: Counter<L>,
  label: L,
  values: readonly V[],
): Promise<Record<V, number>> {
  const sums = Object.fromEntries(values.map((value) => [value, 0])) as Record<V, number>;
  for (const { value, labels } of (await counter.get()).values) {
    const name = labels[label] as V;
    if (name in sums) sums[name] += value;
  }
  return sums;
}
