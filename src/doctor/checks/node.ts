import { type Found, failed, ok, skipped, warning } from '../check.ts';
import type { Answer } from '../host/get.ts';
import type { RunningNode } from '../running-node.ts';

export interface NodeWorld {
  readonly node: Promise<RunningNode>;
  /** Warnings that are told already. */
  readonly known: readonly string[];
  /** Of the program that checks. */
  readonly version: string;
  /** `host:port`. */
  readonly admin: string | undefined;
  /** `host:port` of a proxy address that speaks plain http over TCP. */
  readonly proxy: string | undefined;
  readonly metrics: string | undefined;
  get(url: string, signal: AbortSignal): Promise<Answer>;
}

/** Whether a node runs, answers on its three ports, and is well. */
export async function checkNode(world: NodeWorld, signal: AbortSignal): Promise<Found[]> {
  const node = await world.node;
  const subject = world.admin ?? 'admin.listen';
  if (node.kind === 'none')
    return [
      warning(
        subject,
        `no node runs here (${node.reason})`,
        'Start it with "damselfly serve", or name its address with --admin HOST:PORT',
      ),
    ];
  if (node.kind === 'other')
    return [
      failed(
        subject,
        'what answers there is no Damselfly',
        'Name the admin address with --admin HOST:PORT, or set admin.listen to a free one',
      ),
    ];
  const { status } = node;
  const found = [health(subject, status, world.version)];
  const { cache } = status;
  if (cache.degraded !== null)
    found.push(
      failed(
        cache.dir,
        `the node keeps nothing at present: ${cache.degraded}`,
        'See the findings on the disk below, and the log of the node',
      ),
    );
  for (const text of status.warnings)
    if (!world.known.includes(text)) found.push(warning(subject, text, 'See docs/configuration.md'));
  found.push(
    await answers(
      'proxy',
      world.proxy,
      '/healthy',
      world,
      signal,
      ({ status: code, body }) =>
        (code === 200 && body === 'ok\n') || (code === 503 && body === 'not ready\n'),
    ),
    await answers(
      'metrics',
      world.metrics,
      '/metrics',
      world,
      signal,
      ({ status: code, body }) => code === 200 && body.includes('damselfly_'),
    ),
  );
  return found;
}

function health(
  subject: string,
  status: Extract<RunningNode, { kind: 'node' }>['status'],
  version: string,
): Found {
  if (!status.health.healthy)
    return failed(
      subject,
      `the node is not healthy: ${status.health.reasons.join('; ')}`,
      'See its log, and the findings below',
    );
  if (status.version !== version)
    return warning(
      subject,
      `the node is ${status.version}, and this program is ${version}`,
      'Restart the node, so that both are the same',
    );
  return ok(subject, `a healthy node, ${status.version}`);
}

async function answers(
  what: 'proxy' | 'metrics',
  host: string | undefined,
  path: string,
  world: NodeWorld,
  signal: AbortSignal,
  isOurs: (answer: Answer) => boolean,
): Promise<Found> {
  if (host === undefined)
    return skipped(`${what}.listen`, 'not asked: it is no plain TCP address with a fixed port');
  const subject = `http://${host}${path}`;
  const remedy = `Set ${what}.listen to what the node was started with, or restart the node`;
  try {
    if (isOurs(await world.get(`http://${host}${path}`, signal))) return ok(subject, 'answers');
    return failed(subject, 'what answers there is no Damselfly', remedy);
  } catch {
    return failed(subject, 'does not answer, though the node runs', remedy);
  }
}
