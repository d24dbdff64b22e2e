import { cannotMakeNetns } from './cannot.ts';
import { ip, tc } from './commands.ts';
import { removeLeftovers, removeNamespace } from './leftovers.ts';
import { namespaceName, self } from './names.ts';
import { type LinkShape, MAX_BUNDLE_BYTES, MTU_BYTES, tbfArguments } from './shape.ts';
import { portTraffic, type Traffic } from './traffic.ts';

export interface HostSpec {
  /** Letters, digits and dashes; not `hub`. */
  readonly name: string;
  /** From the host into the network, shaped at the host's end of its link; undefined: as fast as the machine. */
  readonly up?: LinkShape;
  /** From the network to the host, shaped at the network's end. */
  readonly down?: LinkShape;
  /** Hosts of a zone share a switch; what crosses zones is counted. Undefined: at the core. */
  readonly zone?: string;
}

/** A namespace with one link into the network. */
export interface NetHost {
  readonly name: string;
  readonly address: string;
  readonly zone: string | undefined;
  /** In front of a command line, runs it there. */
  readonly enter: readonly string[];
}

interface Attached extends NetHost {
  readonly namespace: string;
  /** The hub's end of the link. */
  readonly port: string;
  /** The bridge that it hangs on while the network is whole. */
  readonly home: string;
}

const CORE = 'core';
const MAX_HOSTS = 250;
/** Used inside namespaces only, so it may be in use on the machine as well. */
const NETWORK = '10.203.0';
let labs = 0;

/**
 * Hosts on shaped links round a switch: a network namespace each, and one more for the switch. Nothing of the
 * machine's own network is touched. Dispose of it, or the next lab of any process does once this one has ended.
 */
export class NetLab implements AsyncDisposable {
  readonly #hosts = new Map<string, Attached>();
  readonly #namespaces: string[] = [];
  readonly #zones = new Map<string, string>();
  readonly #cuts: string[] = [];
  readonly #lab = ++labs;
  readonly #hub: string;

  private constructor() {
    this.#hub = namespaceName(self(), this.#lab, 'hub');
  }

  static async make(specs: readonly HostSpec[]): Promise<NetLab> {
    if (cannotMakeNetns !== false) throw new Error(cannotMakeNetns);
    if (specs.length > MAX_HOSTS) throw new RangeError(`a lab has at most ${MAX_HOSTS} hosts`);
    await removeLeftovers();
    const lab = new NetLab();
    try {
      await lab.#addNamespace(lab.#hub);
      await lab.#addBridge(CORE);
      for (const spec of specs) await lab.#attach(spec);
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]().catch(() => undefined);
      throw error;
    }
  }

  get hosts(): readonly NetHost[] {
    return [...this.#hosts.values()];
  }

  host(name: string): NetHost {
    return this.#attached(name);
  }

  /** Another shape for both directions of a link; undefined: none. What was queued is dropped. */
  async reshape(name: string, shapes: Pick<HostSpec, 'up' | 'down'>): Promise<void> {
    await this.#shape(this.#attached(name), shapes);
  }

  /** The host's link loses its carrier: nothing goes in or out, and nobody is told by a reset. */
  async linkDown(name: string): Promise<void> {
    await this.#hubLink(this.#attached(name).port, 'down');
  }

  async linkUp(name: string): Promise<void> {
    await this.#hubLink(this.#attached(name).port, 'up');
  }

  /** Splits the network: each group reaches its own members only; whoever is named in none stays with the core. */
  async partition(groups: readonly (readonly string[])[]): Promise<void> {
    for (const group of groups) {
      const bridge = `cut${this.#cuts.length}`;
      await this.#addBridge(bridge);
      this.#cuts.push(bridge);
      for (const name of group) await this.#hubLink(this.#attached(name).port, 'master', bridge);
    }
  }

  /** Every host back on the bridge that it hung on, and every link up. */
  async heal(): Promise<void> {
    for (const { port, home } of this.#hosts.values()) await this.#hubLink(port, 'master', home, 'up');
    for (let cut = this.#cuts.pop(); cut !== undefined; cut = this.#cuts.pop())
      await ip('-n', this.#hub, 'link', 'del', cut);
  }

  /** Bytes over each host's link so far, by the host's name. */
  async traffic(): Promise<ReadonlyMap<string, Traffic>> {
    const ports = await portTraffic(this.#hub);
    return new Map([...this.#hosts].map(([name, { port }]) => [name, known(ports, port)]));
  }

  /** Bytes between each zone's switch and the core so far: up is out of the zone. */
  async zoneTraffic(): Promise<ReadonlyMap<string, Traffic>> {
    const ports = await portTraffic(this.#hub);
    return new Map([...this.#zones].map(([zone, bridge]) => [zone, known(ports, trunkAtCore(bridge))]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (let name = this.#namespaces.pop(); name !== undefined; name = this.#namespaces.pop()) {
      await removeNamespace(name).catch((error: unknown) => errors.push(error));
    }
    this.#hosts.clear();
    if (errors.length > 0) throw new AggregateError(errors, `namespaces are left: ${errors.join('; ')}`);
  }

  async #attach(spec: HostSpec): Promise<void> {
    const { name, zone } = spec;
    if (this.#hosts.has(name) || !/^(?!hub$)[A-Za-z0-9-]{1,32}$/.test(name))
      throw new Error(`no host of a lab can be called "${name}" (again)`);
    const index = this.#hosts.size + 1;
    const namespace = namespaceName(self(), this.#lab, name);
    const host: Attached = {
      ...{ name, zone, namespace, port: `p${index}`, address: `${NETWORK}.${index}` },
      // As `ip netns exec`, but in the mounts of this process, so that no mount of a test is held by a copy.
      enter: ['nsenter', `--net=/var/run/netns/${namespace}`, '--'],
      home: zone === undefined ? CORE : await this.#zoneBridge(zone),
    };
    await this.#addNamespace(namespace);
    const mtu = ['mtu', String(MTU_BYTES)];
    const peer = ['peer', 'name', 'eth0', 'netns', namespace, ...mtu];
    await ip('-n', this.#hub, 'link', 'add', host.port, ...mtu, 'type', 'veth', ...peer);
    const bundle = ['gso_max_size', String(MAX_BUNDLE_BYTES)];
    await this.#hubLink(host.port, 'master', host.home, ...bundle, 'up');
    await ip('-n', namespace, 'addr', 'add', `${host.address}/24`, 'dev', 'eth0');
    await ip('-n', namespace, 'link', 'set', 'eth0', 'addrgenmode', 'none', ...bundle, 'up');
    this.#hosts.set(name, host);
    await this.#shape(host, spec);
  }

  async #shape({ namespace, port }: Attached, { up, down }: Pick<HostSpec, 'up' | 'down'>): Promise<void> {
    for (const [shape, where, device] of [
      [up, namespace, 'eth0'],
      [down, this.#hub, port],
    ] as const) {
      if (shape === undefined) await tc('-n', where, 'qdisc', 'replace', 'dev', device, 'root', 'pfifo');
      else await tc('-n', where, 'qdisc', 'replace', 'dev', device, 'root', ...tbfArguments(shape));
    }
  }

  async #zoneBridge(zone: string): Promise<string> {
    const known = this.#zones.get(zone);
    if (known !== undefined) return known;
    const bridge = `z${this.#zones.size}`;
    const atCore = trunkAtCore(bridge);
    const atZone = `${bridge}z`;
    await this.#addBridge(bridge);
    const mtu = ['mtu', String(MTU_BYTES)];
    await ip('-n', this.#hub, 'link', 'add', atCore, ...mtu, 'type', 'veth', 'peer', 'name', atZone, ...mtu);
    await this.#hubLink(atCore, 'master', CORE, 'up');
    await this.#hubLink(atZone, 'master', bridge, 'up');
    this.#zones.set(zone, bridge);
    return bridge;
  }

  async #addNamespace(name: string): Promise<void> {
    await ip('netns', 'add', name);
    this.#namespaces.push(name);
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  }

  async #addBridge(name: string): Promise<void> {
    const options = ['type', 'bridge', 'stp_state', '0', 'forward_delay', '0', 'mcast_snooping', '0'];
    await ip('-n', this.#hub, 'link', 'add', name, 'mtu', String(MTU_BYTES), ...options);
    await this.#hubLink(name, 'up');
  }

  async #hubLink(device: string, ...args: readonly string[]): Promise<void> {
    await ip('-n', this.#hub, 'link', 'set', device, 'addrgenmode', 'none', ...args);
  }

  #attached(name: string): Attached {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`the lab has no host "${name}"`);
    return host;
  }
}

function trunkAtCore(bridge: string): string {
  return `${bridge}c`;
}

function known(ports: ReadonlyMap<string, Traffic>, port: string): Traffic {
  const traffic = ports.get(port);
  if (traffic === undefined) throw new Error(`the switch has no port ${port}`);
  return traffic;
}
