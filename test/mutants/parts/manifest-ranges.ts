import type { BlobQuery } from '../../../src/proxy/blob-query.ts';
import { BlobRoute as Right } from '../../../src/proxy/blob-route.ts';
import type { Call } from '../../../src/proxy/call.ts';

export * from '../../../src/proxy/blob-route.ts';

export class BlobRoute extends Right {
  override handle(call: Call, query: BlobQuery): Promise<void> {
    return super.handle(call, query, { ignoreRange: false });
  }
}
