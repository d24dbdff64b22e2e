import { stringify } from 'yaml';
import { splitHostPort } from '../address.ts';
import { REFUSED } from '../field.ts';
import { hostWithPort } from '../web.ts';
import type { NodeListener, NodeView } from './node-view.ts';
import { UnsupportedRequest } from './unsupported-request.ts';

/** The registries that a client is set up for, and why when nobody named them. */
export interface Chosen {
  readonly registries: readonly string[];
  readonly notes: readonly string[];
}

const DOCKER_HUB: ReadonlySet<string> = new Set([
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]);

/** `--registry` as an image's name has it: `docker.io`, `registry.example.com:5000`. @throws UnsupportedRequest. */
export function registryName(text: string): string {
  const host = hostWithPort(text);
  if (host === REFUSED) {
    throw new UnsupportedRequest(
      `--registry is ${JSON.stringify(text)}; expected a host as images' names have it, without scheme and path, ` +
        'such as docker.io or registry.example.com:5000',
    );
  }
  return DOCKER_HUB.has(host) ? 'docker.io' : host;
}

/** For a client that takes a registry at a time: those that are asked for, else those that the node knows of. */
export function chooseRegistries(asked: readonly string[], node: NodeView): Chosen {
  if (asked.length > 0) return { registries: [...new Set(asked)], notes: [] };
  if (node.knownRegistries.length > 0) {
    const names = node.knownRegistries.join(', ');
    return {
      registries: node.knownRegistries,
      notes: [`Without --registry it is for the registries of the node's configuration: ${names}.`],
    };
  }
  return { registries: ['docker.io'], notes: ['Without --registry it is for docker.io.'] };
}

/** A port for each registry, for clients that cannot say which one they mean. */
export interface Routes {
  readonly listeners: ReadonlyMap<string, NodeListener>;
  /** The listeners that the node lacks, as YAML. */
  readonly damselfly: string | undefined;
}

/** The first port of a listener that is proposed lies so far above the main one. */
const PORT_DISTANCE = 10;

/**
 * The listener whose nameless requests mean a registry; where the node has none, one is proposed on the next free port
 * above its main one.
 */
export function namelessRoutes(registries: readonly string[], node: NodeView): Routes {
  const taken = new Set(node.listeners.map(({ host }) => splitHostPort(host).port));
  const { host } = splitHostPort(node.main.host);
  let port = Number(splitHostPort(node.main.host).port) + PORT_DISTANCE;
  const listeners = new Map<string, NodeListener>();
  const proposed: { listen: string; origin: string }[] = [];
  for (const registry of registries) {
    const origin = node.originOf(registry);
    let listener = node.listeners.find((candidate) => candidate.origin === origin);
    if (listener === undefined) {
      while (taken.has(String(port))) port++;
      if (port > 65535) {
        throw new UnsupportedRequest(
          'there is no port above proxy.listen for a listener per registry: ' +
            'write proxy.listeners with an origin each yourself, and run this again',
        );
      }
      taken.add(String(port));
      const listen = `${host}:${port}`;
      listener = { url: `http://${listen}`, host: listen, origin, certFile: undefined, wildcard: false };
      proposed.push({ listen, origin });
    }
    listeners.set(registry, listener);
  }
  const damselfly = proposed.length === 0 ? undefined : stringify({ proxy: { listeners: proposed } });
  return { listeners, damselfly };
}

/** @throws UnsupportedRequest where the client reaches the node by plain http only. */
export function plainHttp(title: string, listener: NodeListener): NodeListener {
  if (listener.certFile === undefined) return listener;
  throw new UnsupportedRequest(
    `${title} reaches a node by plain http only, and ${listener.host} speaks TLS: add a plain address to ` +
      'proxy.listeners on loopback, and name it with --node HOST:PORT',
  );
}
