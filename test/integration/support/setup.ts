import type { TestContext } from 'node:test';
import type { DaemonOptions } from '../../../src/daemon.ts';
import { type OriginOptions, startOrigin, type TestOrigin } from '../../support/origin.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { startNode, type TestNode } from './node.ts';

export interface Setup {
  readonly origin: TestOrigin;
  readonly node: TestNode;
  /** `cache.dir` of the node. */
  readonly dir: string;
}

/** Configuration that lists an origin and its CDN, lets them be read over plain http, and makes it the default. */
export function listing(origin: Pick<TestOrigin, 'host' | 'url' | 'cdnUrl'>): string[] {
  const hosts = [origin.host, new URL(origin.cdnUrl).host];
  return [
    `origins=${JSON.stringify(hosts.map((host) => ({ host, insecure: true })))}`,
    `proxy.defaultOrigin=${origin.url}`,
  ];
}

/** An origin and a node in front of it, both gone after the test. */
export async function setup(
  t: Pick<TestContext, 'after'>,
  options: {
    readonly origin?: OriginOptions;
    readonly set?: readonly string[];
    readonly disk?: DaemonOptions['disk'];
  } = {},
): Promise<Setup> {
  const folder = await tempFolder(t);
  const origin = await startOrigin(options.origin);
  t.after(() => origin.close());
  const dir = folder.file('cache');
  const { disk } = options;
  const node = await startNode(dir, [...listing(origin), ...(options.set ?? [])], disk && { disk });
  t.after(() => node.stop());
  return { origin, node, dir };
}
