import { type OriginOptions, TestOrigin } from './origin/test-origin.ts';

export type { Action, Readers } from './origin/auth.ts';
export { type Certificate, selfSigned } from './origin/certificate.ts';
export { type Content, fileContent, memoryContent, seededBytes, seededDigest } from './origin/content.ts';
export type { Fault, FaultAction, FaultMatch, FaultRule } from './origin/faults.ts';
export { type Endpoint, headerValues, type RequestRecord } from './origin/log.ts';
export type { RedirectOptions } from './origin/redirects.ts';
export {
  OCI_INDEX,
  OCI_MANIFEST,
  type Repository,
  type RepositoryOptions,
  type TestBlob,
  type TestManifest,
} from './origin/repository.ts';
export type { OriginOptions, TestOrigin } from './origin/test-origin.ts';

/** A programmable registry on a free loopback port; `await using` or `close()` ends it. */
export function startOrigin(options: OriginOptions = {}): Promise<TestOrigin> {
  return TestOrigin.start(options);
}
