import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../src/observe/log.ts';
import type { Member } from '../member.ts';

/** In `cache.dir`. It holds nothing secret, and nothing that could not be lost. */
export const REMEMBERED_FILE = 'members.json';
const FORMAT = 1;
const MAX_BYTES = 64 * 1024;
const MAX_ADDRESSES = 64;

export interface Remembered {
  /** Of the last start; 0 when there was none. */
  readonly epoch: number;
  /** Multiaddrs where members were when the node last ran. */
  readonly addresses: readonly string[];
}

export const NOTHING_REMEMBERED: Remembered = { epoch: 0, addresses: [] };

/** What a node would know of the swarm after a restart, kept up to date in its folder. */
export class Memory {
  readonly #folder: string | undefined;
  readonly #log: Logger;
  #kept: Remembered;

  /** @param folder undefined: nothing is kept. */
  constructor(folder: string | undefined, kept: Remembered, log: Logger) {
    this.#folder = folder;
    this.#kept = kept;
    this.#log = log;
  }

  get addresses(): readonly string[] {
    return this.#kept.addresses;
  }

  /** Writes what has changed. @param others members besides this node. Never fails: there is a next time. */
  async keep(epoch: number, others: readonly Pick<Member, 'control'>[]): Promise<void> {
    if (this.#folder === undefined) return;
    const known = others.flatMap(({ control }) => control.slice(0, 1));
    // A node that has lost sight of everybody remembers where they were.
    const addresses = known.length > 0 ? known : this.#kept.addresses;
    if (epoch === this.#kept.epoch && addresses.join() === this.#kept.addresses.join()) return;
    try {
      await writeRemembered(this.#folder, { epoch, addresses });
      this.#kept = { epoch, addresses };
    } catch (error) {
      this.#log.debug({ err: error }, 'the list of remembered members cannot be written');
    }
  }
}

/** What the last run left; a file that is missing or damaged is as good as none. */
export async function readRemembered(folder: string): Promise<Remembered> {
  try {
    const text = await readFile(join(folder, REMEMBERED_FILE), 'utf8');
    return text.length > MAX_BYTES ? NOTHING_REMEMBERED : parse(JSON.parse(text));
  } catch {
    return NOTHING_REMEMBERED;
  }
}

/** Whole or not at all. */
export async function writeRemembered(folder: string, remembered: Remembered): Promise<void> {
  const path = join(folder, REMEMBERED_FILE);
  const addresses = remembered.addresses.slice(0, MAX_ADDRESSES);
  await writeFile(
    `${path}.new`,
    `${JSON.stringify({ format: FORMAT, epoch: remembered.epoch, addresses })}\n`,
  );
  await rename(`${path}.new`, path);
}

/** Greater than that of every earlier start, also when the clock was set back in between. */
export function nextEpoch(remembered: Remembered, wallMs: number): number {
  return Math.max(Math.floor(wallMs), remembered.epoch + 1);
}

function parse(value: unknown): Remembered {
  if (typeof value !== 'object' || value === null) return NOTHING_REMEMBERED;
  const { format, epoch, addresses } = value as Record<string, unknown>;
  if (format !== FORMAT || !Number.isSafeInteger(epoch) || !Array.isArray(addresses))
    return NOTHING_REMEMBERED;
  const texts = addresses.filter((address) => typeof address === 'string' && /^\/(ip|dns)/.test(address));
  return { epoch: Math.max(0, Number(epoch)), addresses: texts.slice(0, MAX_ADDRESSES) };
}
