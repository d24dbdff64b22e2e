import type { Logger } from '../../src/observe/log.ts';
import { NetworkKey } from './network-key.ts';
import { readKeyFile } from './network-key-file.ts';

/** How often the file is looked at. A Secret of Kubernetes is swapped by a symbolic link, which no file watch sees. */
const POLL_MS = 5_000;

/** The keys of this node's network: the first is used, all are accepted. They may change while the node runs. */
export class NetworkKeys {
  #keys: readonly [NetworkKey, ...NetworkKey[]];
  readonly #listeners = new Set<() => void>();

  constructor(keys: readonly NetworkKey[]) {
    this.#keys = atLeastOne(keys);
  }

  /** One public key: for `peer.insecure` without a key file. */
  static insecure(): NetworkKeys {
    return new NetworkKeys([NetworkKey.insecure()]);
  }

  /** @throws DamselflyError `network-key-invalid` */
  static async load(path: string): Promise<NetworkKeys> {
    return new NetworkKeys(await readKeyFile(path));
  }

  get first(): NetworkKey {
    return this.#keys[0];
  }

  /** In the order of the file; the same array until they change. */
  get accepted(): readonly [NetworkKey, ...NetworkKey[]] {
    return this.#keys;
  }

  /** @returns whether anything changed. */
  replace(keys: readonly NetworkKey[]): boolean {
    const next = atLeastOne(keys);
    const isSame = next.length === this.#keys.length && next.every((key, i) => this.#keys[i]?.equals(key));
    if (isSame) return false;
    this.#keys = next;
    for (const listener of [...this.#listeners]) listener();
    return true;
  }

  /** Called after the keys changed. @returns a function that takes the listener back. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/**
 * Looks at the key file again and again, and takes its keys over. A file that is gone or wrong changes nothing: the keys
 * of before stay, and the trouble is logged once.
 */
export class NetworkKeyWatch {
  readonly #path: string;
  readonly #keys: NetworkKeys;
  readonly #log: Logger;
  readonly #pollMs: number;
  #timer: NodeJS.Timeout | undefined;
  #trouble = '';
  #isStopped = false;

  constructor(options: { path: string; keys: NetworkKeys; log: Logger; pollMs?: number }) {
    this.#path = options.path;
    this.#keys = options.keys;
    this.#log = options.log;
    this.#pollMs = options.pollMs ?? POLL_MS;
  }

  start(): void {
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** One look at the file, now. */
  async look(): Promise<void> {
    try {
      const keys = await readKeyFile(this.#path);
      this.#trouble = '';
      if (!this.#isStopped && this.#keys.replace(keys))
        this.#log.info({ keys: keys.map((key) => key.fingerprint) }, 'network keys were read again');
    } catch (error) {
      const message = (error as Error).message;
      if (message !== this.#trouble) this.#log.warn({ err: error }, 'the network keys of before stay in use');
      this.#trouble = message;
    }
  }

  #arm(): void {
    this.#timer = setTimeout(() => {
      void this.look().then(() => {
        if (!this.#isStopped) this.#arm();
      });
    }, this.#pollMs);
    this.#timer.unref();
  }
}

function atLeastOne(keys: readonly NetworkKey[]): readonly [NetworkKey, ...NetworkKey[]] {
  const [first, ...others] = keys;
  if (first === undefined) throw new RangeError('a network has at least one key');
  return [first, ...others];
}
