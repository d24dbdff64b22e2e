import type { Finding, JudgeContext, TargetName } from './client-target.ts';
import { findingsOf } from './finding.ts';
import { isObject, type JsonObject } from './json-edit.ts';
import { listenerFor, namelessOrigin } from './node-view.ts';
import { AUTH_THROUGH_GONE, backendOf, MIRRORS_GONE, mirrorList } from './nydus-backend.ts';
import { compareVersions } from './version.ts';

/** Judges a nydusd's JSON. @param throughSnapshotter it is a template: a missing `fallback` arrives as false. */
export function judgeNydus(
  target: TargetName,
  path: string,
  text: string,
  context: JudgeContext,
  throughSnapshotter: boolean,
): readonly Finding[] {
  const { failed, warning } = findingsOf(target);
  const backend = backendOf(path, text);
  const again = `Run "damselfly setup ${target} --write"`;
  const proxy = isObject(backend.proxy) ? backend.proxy : undefined;
  const proxyHere = typeof proxy?.url === 'string' && listenerFor(context.node, proxy.url) !== undefined;
  const mirrorsHere = mirrorList(backend).filter(
    ({ host }) => typeof host === 'string' && listenerFor(context.node, host) !== undefined,
  );
  if (proxy?.url !== undefined && mirrorList(backend).length > 0) {
    const remedy = `Take mirrors out, or: ${again}`;
    return [
      failed(path, `proxy and mirrors are both set: nydusd before ${MIRRORS_GONE} refuses that`, remedy),
    ];
  }
  if (proxyHere && proxy !== undefined)
    return judgeProxy(target, path, { proxy, backend, again, context, throughSnapshotter });
  const [mirror] = mirrorsHere;
  if (mirror !== undefined) return judgeMirror(target, path, mirror, again, context);
  return [warning(path, 'nydusd reads past the node', again)];
}

interface ProxyCase {
  readonly proxy: JsonObject;
  readonly backend: JsonObject;
  readonly again: string;
  readonly context: JudgeContext;
  readonly throughSnapshotter: boolean;
}

function judgeProxy(target: TargetName, path: string, found: ProxyCase): Finding[] {
  const { proxy, backend, again, context, throughSnapshotter } = found;
  const { failed, ok, warning } = findingsOf(target);
  const url = String(proxy.url);
  const listener = listenerFor(context.node, url);
  if (listener?.certFile !== undefined) {
    const remedy = 'Add a plain listener on loopback to proxy.listeners, and name it in proxy.url';
    return [failed(path, `${listener.host} speaks TLS, and nydusd needs plain http to a proxy`, remedy)];
  }
  if (url.startsWith('https:'))
    return [failed(path, `proxy.url has the wrong scheme: that port speaks http`, again)];
  const findings: Finding[] = [];
  if (proxy.fallback === false) {
    findings.push(
      warning(
        path,
        'proxy.fallback is false: reads fail when the node is down',
        'Set proxy.fallback to true',
      ),
    );
  } else if (proxy.fallback === undefined && throughSnapshotter) {
    findings.push(
      warning(
        path,
        'proxy.fallback is missing, and the snapshotter makes false of that: reads fail when the node is down',
        again,
      ),
    );
  }
  if (proxy.use_http !== true && backend.scheme !== 'http') {
    findings.push(
      warning(
        path,
        'proxy.use_http is not set: https registries come as tunnels, and nothing is cached',
        again,
      ),
    );
  }
  if (typeof proxy.ping_url !== 'string') {
    const message = 'proxy.ping_url is missing: every read asks a node that is down or stuck first';
    findings.push(warning(path, message, again));
  }
  return findings.length > 0 ? findings : [ok(path, `nydusd reads through ${url}`)];
}

function judgeMirror(
  target: TargetName,
  path: string,
  mirror: JsonObject,
  again: string,
  { clientVersion, node }: JudgeContext,
): Finding[] {
  const { failed, ok, warning } = findingsOf(target);
  const host = String(mirror.host);
  const gone = `nydusd ignores mirrors from ${MIRRORS_GONE} on, and reads past the node`;
  if (clientVersion === undefined)
    return [warning(path, gone, `${again}, which uses proxy, unless this nydusd is older`)];
  if (compareVersions(clientVersion, MIRRORS_GONE) >= 0)
    return [failed(path, `${gone}; this one is ${clientVersion}`, again)];
  if (compareVersions(clientVersion, AUTH_THROUGH_GONE) < 0 && mirror.auth_through !== true) {
    const message = `auth_through is not true: nydusd ${clientVersion} takes what needs no login past the node`;
    return [failed(path, message, again)];
  }
  const headers = isObject(mirror.headers) ? Object.keys(mirror.headers) : [];
  const named = headers.some((name) => name.toLowerCase() === 'x-dragonfly-registry');
  if (!named && namelessOrigin(node, host) === undefined) {
    const message = 'the requests do not say which registry they mean, and the node cannot know';
    return [failed(path, message, `Add the header X-Dragonfly-Registry, or: ${again}`)];
  }
  return [ok(path, `nydusd ${clientVersion} reads through the mirror ${host}`)];
}
