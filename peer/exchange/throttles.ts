import type { ExchangeLimits } from './limits.ts';
import { TokenBucket } from './token-bucket.ts';
import { UploadQueue } from './upload-queue.ts';

/** What all transports of a node share: its slots and its rates are the node's, not a transport's. */
export interface Throttles {
  readonly uploads: UploadQueue;
  readonly upload: TokenBucket;
  readonly download: TokenBucket;
}

export function makeThrottles(limits: ExchangeLimits): Throttles {
  return {
    uploads: new UploadQueue({ slots: limits.uploadSlots, maxQueued: limits.uploadQueue }),
    upload: new TokenBucket(limits.uploadBytesPerSecond),
    download: new TokenBucket(limits.downloadBytesPerSecond),
  };
}
