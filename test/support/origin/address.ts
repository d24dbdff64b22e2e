import { type Digest, parseDigest } from '../../../src/blob/digest.ts';
import type { Endpoint } from './log.ts';

/** What a request target of the distribution specification points at. */
export interface Address {
  readonly endpoint: Endpoint;
  readonly path: string;
  readonly repository?: string;
  /** Tag, digest or upload id. */
  readonly reference?: string;
  readonly digest?: Digest;
}

const ROUTES: readonly (readonly [Endpoint, RegExp])[] = [
  ['upload', /^\/v2\/(.+)\/blobs\/uploads(?:\/([^/]*))?$/],
  ['blob', /^\/v2\/(.+)\/blobs\/([^/]+)$/],
  ['manifest', /^\/v2\/(.+)\/manifests\/([^/]+)$/],
  ['referrers', /^\/v2\/(.+)\/referrers\/([^/]+)$/],
  ['tags', /^\/v2\/(.+)\/tags\/list$/],
  ['catalog', /^\/v2\/_catalog$/],
  ['base', /^\/v2\/?$/],
  ['token', /^\/token$/],
  ['cdn', /^\/cdn\/(.+)\/([^/]+)$/],
];

export function parseAddress(target: string): Address {
  const [withoutQuery = ''] = target.split('?', 1);
  const path = withoutQuery.replace(/^https?:\/\/[^/]*/, '');
  for (const [endpoint, route] of ROUTES) {
    const match = route.exec(path);
    if (match === null) continue;
    const [, repository, reference] = match;
    const digest = parseDigest(reference ?? '');
    return {
      endpoint,
      path,
      ...(repository === undefined ? {} : { repository }),
      ...(reference === undefined ? {} : { reference }),
      ...(digest === null ? {} : { digest }),
    };
  }
  return { endpoint: 'other', path };
}
