import type { StatusDocument } from '../admin/status-document.ts';
import type { Answer } from './host/get.ts';

/** What answers at the admin address. */
export type RunningNode =
  | { readonly kind: 'node'; readonly status: StatusDocument }
  | { readonly kind: 'none'; readonly reason: string }
  /** Something that is no Damselfly. */
  | { readonly kind: 'other' };

/** Asks who is there. Never throws. @param admin `host:port`; undefined: the port is known to the running node only. */
export async function askNode(
  admin: string | undefined,
  get: (url: string, signal: AbortSignal) => Promise<Answer>,
  signal: AbortSignal,
  reasonOf: (error: unknown) => string,
): Promise<RunningNode> {
  if (admin === undefined) return { kind: 'none', reason: 'admin.listen has port 0' };
  let answer: Answer;
  try {
    answer = await get(`http://${admin}/api/v1/status`, signal);
  } catch (error) {
    return { kind: 'none', reason: reasonOf(error) };
  }
  const status = readStatus(answer);
  return status === null ? { kind: 'other' } : { kind: 'node', status };
}

function readStatus({ status, body }: Answer): StatusDocument | null {
  if (status !== 200) return null;
  try {
    const document = JSON.parse(body) as Partial<StatusDocument>;
    const isOurs =
      typeof document.version === 'string' &&
      typeof document.health?.healthy === 'boolean' &&
      Array.isArray(document.listen?.proxy) &&
      typeof document.cache?.dir === 'string';
    return isOurs ? (document as StatusDocument) : null;
  } catch {
    return null;
  }
}
