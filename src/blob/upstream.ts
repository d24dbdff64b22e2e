import type { Credential } from './credential.ts';

/**
 * An origin, normalised: `https://registry-1.docker.io`, `http://127.0.0.1:5000`. Lower case, no path, no default port.
 * It names the owner of blobs in rights and metrics; where its requests really go (`origins[].url`) is the origin module's matter.
 */
export type OriginId = string & { readonly __origin: unique symbol };

/** Where a blob may be read from the origin, and as whom: one requester's view. */
export interface Upstream {
  readonly origin: OriginId;
  readonly repository: string;
  readonly kind: 'blob' | 'manifest';
  readonly credential: Credential;
}
