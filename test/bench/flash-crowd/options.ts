import { bytesPerSecond, RATE_EXPECTED, SIZE_EXPECTED, sizeInBytes } from '../../../config/size.ts';
import type { TraceName } from '../../support/trace.ts';

/** Of `node:util`'s parseArgs. */
export const FLASH_CROWD_FLAGS = {
  nodes: { type: 'string' },
  size: { type: 'string' },
  rate: { type: 'string' },
  'origin-rate': { type: 'string' },
  'slow-origin': { type: 'boolean' },
  kill: { type: 'string' },
  peers: { type: 'string' },
  transport: { type: 'string' },
  zones: { type: 'string' },
  reads: { type: 'string' },
  trace: { type: 'string' },
  'trace-reads': { type: 'string' },
  form: { type: 'string' },
  dir: { type: 'string' },
} as const;

export const FLASH_CROWD_USAGE = `flash-crowd alone takes:
  --nodes N              real node processes (8)
  --size SIZE            of the blob that is pulled whole (256MiB); a trace has its own
  --rate RATE            of every node's link, up and down (20MB/s); on loopback what it takes from and gives to peers
  --origin-rate RATE     of the origin's link (that of the nodes)
  --slow-origin          an origin of 5MB/s
  --kill SHARE           kill -9 that share of the nodes in mid-transfer, such as 25%
  --peers on|off         whether nodes exchange pieces (off)
  --transport T          auto, tls or libp2p (auto)
  --zones N              nodes take turns in so many zones, and what crosses them is counted
  --reads R              whole, lazy (every node replays a recorded nydusd at once) or both (both)
  --trace NAME           which recording (nydusd-2.2.0-rafs6-whole-tree)
  --trace-reads N        only its first N requests
  --form F               netns (root, ip, tc) or loopback, where only the origin and peers are capped; else what can be
  --dir FOLDER           where caches are (the temporary folder); a memory file system keeps the disk out of it`;

export type ReadKind = 'whole' | 'lazy';

export interface FlashCrowdOptions {
  /** Undefined: the bench's own number. */
  readonly nodes: number | undefined;
  readonly sizeBytes: number | undefined;
  /** Bytes per second. */
  readonly rate: number;
  readonly originRate: number;
  /** 0 to 1, 1 excluded. */
  readonly killShare: number;
  readonly peers: boolean;
  readonly transport: 'auto' | 'tls' | 'libp2p';
  /** 0: none. */
  readonly zones: number;
  readonly reads: readonly ReadKind[];
  readonly trace: TraceName;
  readonly traceReads: number | undefined;
  /** Undefined: netns where that can be, else loopback. */
  readonly form: 'netns' | 'loopback' | undefined;
  readonly folder: string | undefined;
}

type Flags = { readonly [name in keyof typeof FLASH_CROWD_FLAGS]?: string | boolean | undefined };

const DEFAULT_RATE = '20MB/s';
const SLOW_ORIGIN = 5e6;
const MAX_NODES = 64;

/** @throws with the flag, what it was given and what it takes. */
export function flashCrowdOptions(flags: Flags): FlashCrowdOptions {
  const rate = rateOf('rate', flags.rate ?? DEFAULT_RATE);
  if (flags['slow-origin'] === true && flags['origin-rate'] !== undefined)
    throw new Error('--slow-origin and --origin-rate exclude each other');
  const originRate =
    flags['slow-origin'] === true
      ? SLOW_ORIGIN
      : given(flags['origin-rate'], (value) => rateOf('origin-rate', value));
  const reads = choice('reads', flags.reads ?? 'both', ['whole', 'lazy', 'both']);
  return {
    nodes: given(flags.nodes, (value) => count('nodes', value, 1, MAX_NODES)),
    sizeBytes: given(flags.size, (value) => sizeOf('size', value)),
    rate,
    originRate: originRate ?? rate,
    killShare: given(flags.kill, share) ?? 0,
    peers: choice('peers', flags.peers ?? 'off', ['on', 'off']) === 'on',
    transport: choice('transport', flags.transport ?? 'auto', ['auto', 'tls', 'libp2p']),
    zones: given(flags.zones, (value) => count('zones', value, 1, MAX_NODES)) ?? 0,
    reads: reads === 'both' ? ['whole', 'lazy'] : [reads],
    trace: choice('trace', flags.trace ?? 'nydusd-2.2.0-rafs6-whole-tree', [
      'nydusd-2.2.0-rafs6-whole-tree',
      'nydusd-2.4.4-rafs6-whole-tree',
    ]),
    traceReads: given(flags['trace-reads'], (value) => count('trace-reads', value, 1, 1e6)),
    form: given(flags.form, (value) => choice('form', value, ['netns', 'loopback'])),
    folder: given(flags.dir, String),
  };
}

/** `20 MB/s`, as it is given on the command line. */
export function showRate(rate: number): string {
  return `${Number((rate / 1e6).toPrecision(4))} MB/s`;
}

/** How many of `nodes` a share is: at least one, and one is left. */
export function killCount(nodes: number, killShare: number): number {
  return killShare === 0 ? 0 : Math.min(nodes - 1, Math.max(1, Math.round(nodes * killShare)));
}

function given<V, T>(value: V | undefined, read: (value: V) => T): T | undefined {
  return value === undefined ? undefined : read(value);
}

function count(name: string, value: unknown, least: number, most: number): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < least || number > most)
    throw new Error(`--${name} takes a whole number from ${least} to ${most}, not "${value}"`);
  return number;
}

function sizeOf(name: string, value: unknown): number {
  const bytes = sizeInBytes(value);
  if (typeof bytes !== 'number' || bytes < 1)
    throw new Error(`--${name} takes ${SIZE_EXPECTED}, not "${value}"`);
  return bytes;
}

function rateOf(name: string, value: unknown): number {
  const rate = bytesPerSecond(value);
  if (typeof rate !== 'number' || !Number.isFinite(rate))
    throw new Error(`--${name} takes ${RATE_EXPECTED.split(';')[0]}, not "${value}"`);
  return rate;
}

function share(value: unknown): number {
  const [, number, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(String(value)) ?? [];
  const part = Number(number) / (percent === '%' ? 100 : 1);
  if (!(part >= 0 && part < 1))
    throw new Error(`--kill takes a share below 100%, such as 25%, not "${value}"`);
  return part;
}

function choice<const T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((one) => one === value);
  if (found === undefined) throw new Error(`--${name} takes ${choices.join(', ')}, not "${value}"`);
  return found;
}
