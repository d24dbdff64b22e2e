import { OriginProcess } from '../support/origin-process.ts';
import type { Stage } from './stage.ts';

export const REPOSITORY = 'b/r';
/** Its blobs are hashed before it listens, at some 1 GB/s, and other work may be going on. */
const START_TIMEOUT_MS = 120_000;

export interface BlobFact {
  readonly digest: string;
  readonly size: number;
  readonly path: string;
}

/** The programmable origin in a process of its own, with made-up blobs, each of another content. */
export async function startOrigin(
  stage: Stage,
  blobs: { readonly count: number; readonly size: number },
  options: { readonly bytesPerSecond?: number } = {},
): Promise<OriginProcess> {
  const seeds = Array.from({ length: blobs.count }, (_, i) => ({ size: blobs.size, seed: i + 1 }));
  const origin = await OriginProcess.start(
    { ...options, repositories: { [REPOSITORY]: { blobs: seeds } } },
    START_TIMEOUT_MS,
  );
  stage.scope.defer(() => origin.close());
  stage.signal.throwIfAborted();
  return origin;
}

export function blobOf(origin: OriginProcess, index: number): BlobFact {
  const blob = origin.repositories[REPOSITORY]?.blobs[index];
  if (blob === undefined) throw new Error(`the origin has no blob ${index}`);
  return blob;
}
