import type { OriginId } from '../../src/blob/upstream.ts';
import { isObject, type JsonObject, jsonText, objectAt, parseJson, setJson } from './json-edit.ts';
import type { NodeListener } from './node-view.ts';
import { unusable } from './unusable.ts';
import { compareVersions } from './version.ts';

/** From here on nydusd takes `mirrors` for an unknown key and says nothing. */
export const MIRRORS_GONE = '2.3.5';
/** Before this one a request without a token passes mirrors by unless `auth_through` is set. */
export const AUTH_THROUGH_GONE = '2.2.3';

const BACKEND = ['device', 'backend', 'config'] as const;

/** How nydusd is sent to the node. */
export type NydusForm = 'proxy' | 'mirrors';

export function formFor(version: string | undefined): NydusForm {
  return version === undefined || compareVersions(version, MIRRORS_GONE) >= 0 ? 'proxy' : 'mirrors';
}

export interface NydusRoute {
  readonly form: NydusForm;
  readonly listener: NodeListener;
  readonly version: string | undefined;
  /** What `mirrors` says in place of a registry's name, since they send none. */
  readonly origin: OriginId | undefined;
}

/** As the snapshotter's own template, but through the node. @param backend what a single nydusd needs besides. */
export function newNydusJson(route: NydusRoute, backend: JsonObject = {}): string {
  return jsonText({
    device: {
      backend: {
        type: 'registry',
        config: { ...backend, timeout: 5, connect_timeout: 5, retry_limit: 2, ...routeConfig(route) },
      },
      cache: {
        type: 'blobcache',
        ...(Object.keys(backend).length === 0 ? {} : { config: { work_dir: '/var/lib/nydus/cache' } }),
      },
    },
    mode: 'direct',
    digest_validate: false,
    iostats_files: false,
    enable_xattr: true,
    amplify_io: 1048576,
    fs_prefetch: { enable: true, threads_count: 8, merging_size: 1048576, prefetch_all: true },
  });
}

export interface EditedNydusJson {
  readonly content: string;
  readonly warnings: readonly string[];
}

/** The same in a file that is there. `proxy` and `mirrors` exclude each other, so the one that is not used goes. */
export function editNydusJson(path: string, text: string, route: NydusRoute): EditedNydusJson {
  const root = parseJson(path, text);
  const backend = objectAt(root, ['device', 'backend']);
  if (typeof backend?.type === 'string' && /^local/.test(backend.type)) {
    throw unusable(path, `has the backend ${backend.type}`, 'a node is of no use to images on this disk');
  }
  const warnings: string[] = [];
  const config = objectAt(root, BACKEND) ?? {};
  let content =
    backend?.type === undefined ? setJson(path, text, ['device', 'backend', 'type'], 'registry') : text;
  const other = route.form === 'proxy' ? 'mirrors' : 'proxy';
  if (config[other] !== undefined) {
    content = setJson(path, content, [...BACKEND, other], undefined);
    warnings.push(
      other === 'mirrors'
        ? `${path} has mirrors, which nydusd ignores from ${MIRRORS_GONE} on and refuses beside proxy before: proxy takes their place.`
        : `${path} has a proxy, which nydusd refuses beside mirrors: mirrors take its place.`,
    );
  }
  if (route.form === 'mirrors') {
    const [mirror] = mirrorsOf(route);
    const rest = mirrorList(config).filter(({ host }) => host !== mirror?.host);
    return { content: setJson(path, content, [...BACKEND, 'mirrors'], [mirror, ...rest]), warnings };
  }
  const before = isObject(config.proxy) ? config.proxy : {};
  const wanted = proxyOf(route);
  if (typeof before.url === 'string' && before.url !== '' && before.url !== wanted.url)
    warnings.push(`${path}: the proxy was ${withoutUser(before.url)}; nydusd takes one only.`);
  if (before.url !== undefined && before.fallback === undefined)
    warnings.push(
      `${path}: proxy.fallback is missing, which some snapshotters make false of: it is set to true.`,
    );
  if (before.fallback === false)
    warnings.push(
      `${path}: proxy.fallback is false and was left so: reads fail when the node is down. Set it to true unless you mean that.`,
    );
  // What the user chose of these stays: an interval, a fallback that is switched off.
  const chosen = new Set(['check_interval', 'fallback']);
  for (const [key, value] of Object.entries(wanted)) {
    if (chosen.has(key) && before[key] !== undefined) continue;
    content = setJson(path, content, [...BACKEND, 'proxy', key], value);
  }
  return { content, warnings };
}

export function backendOf(path: string, text: string): JsonObject {
  return objectAt(parseJson(path, text), BACKEND) ?? {};
}

export function mirrorList(backend: JsonObject): readonly JsonObject[] {
  return Array.isArray(backend.mirrors) ? backend.mirrors.filter(isObject) : [];
}

/** A URL as it may be shown. */
export function withoutUser(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//');
}

function routeConfig(route: NydusRoute): JsonObject {
  return route.form === 'proxy' ? { proxy: proxyOf(route) } : { mirrors: mirrorsOf(route) };
}

/** `use_http` has nydusd ask for https registries in plain words, so that the node can cache them. */
function proxyOf({ listener }: NydusRoute): JsonObject {
  return {
    url: listener.url,
    ping_url: `${listener.url}/healthy`,
    fallback: true,
    check_interval: 5,
    use_http: true,
  };
}

function mirrorsOf({ listener, origin, version }: NydusRoute): readonly JsonObject[] {
  const authThrough = version !== undefined && compareVersions(version, AUTH_THROUGH_GONE) < 0;
  return [
    {
      host: listener.url,
      ping_url: `${listener.url}/healthy`,
      ...(origin === undefined ? {} : { headers: { 'X-Dragonfly-Registry': origin } }),
      ...(authThrough ? { auth_through: true } : {}),
      health_check_interval: 5,
      failure_limit: 5,
    },
  ];
}
