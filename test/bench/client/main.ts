import { createHash } from 'node:crypto';
import { Random } from '../../support/random.ts';
import { Connection, type Exchange } from './connection.ts';
import type { LoadJob, LoadResult, Quantiles } from './job.ts';

// The load generator, a process of its own: `node test/bench/client/main.ts JOB` prints a LoadResult, both as JSON.
const job = JSON.parse(process.argv[2] ?? '') as LoadJob;
const urls = job.urls.map((url) => new URL(url));
const hash = job.digest ? createHash('sha256') : undefined;
const random = new Random(job.seed);
const latenciesMs: number[] = [];
const firstBytesMs: number[] = [];
let started = 0;
let bytes = 0;

const begunMs = performance.now();
const cpuBefore = process.cpuUsage();
await Promise.all(Array.from({ length: job.connections }, work));
const seconds = (performance.now() - begunMs) / 1000;
const cpu = process.cpuUsage(cpuBefore);
const result: LoadResult = {
  requests: latenciesMs.length,
  bytes,
  seconds,
  latencyMs: quantiles(latenciesMs),
  firstByteMs: quantiles(firstBytesMs),
  clientCpuSeconds: (cpu.user + cpu.system) / 1e6,
  client: 'own client',
  ...(hash === undefined ? {} : { digest: `sha256:${hash.digest('hex')}` }),
};
console.log(JSON.stringify(result));

async function work(): Promise<void> {
  const connection = new Connection((chunk) => hash?.update(chunk));
  try {
    for (let exchange = next(); exchange !== undefined; exchange = next()) {
      const { firstByteMs, endMs } = await connection.get(exchange);
      latenciesMs.push(endMs);
      firstBytesMs.push(firstByteMs);
      bytes += exchange.bytes;
    }
  } finally {
    connection.close();
  }
}

function next(): Exchange | undefined {
  const { blobBytes, rangeBytes, until } = job;
  const isOver =
    'requests' in until ? started >= until.requests : performance.now() - begunMs >= until.seconds * 1000;
  if (isOver) return undefined;
  started += 1;
  const turn = rangeBytes === undefined ? started - 1 : random.integer(0, urls.length);
  const url = urls[turn % urls.length];
  if (url === undefined) return undefined;
  if (rangeBytes === undefined) return { url, bytes: blobBytes };
  const start = random.integer(0, blobBytes - rangeBytes + 1);
  return { url, range: [start, start + rangeBytes], bytes: rangeBytes };
}

function quantiles(values: readonly number[]): Quantiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}
