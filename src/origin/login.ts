/** How a node logs in at a registry: what a docker config.json or a credential helper gives. */
export type Login =
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  /** An OAuth2 refresh token (`identitytoken`). */
  | { readonly kind: 'identity'; readonly token: string }
  /** A bearer token as it is (`registrytoken`). */
  | { readonly kind: 'bearer'; readonly token: string };
