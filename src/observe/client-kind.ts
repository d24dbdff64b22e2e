/** Kinds of client, by User-Agent; `none` sends no User-Agent (nydusd before 2.4.3). */
export const CLIENT_KINDS = [
  'nydusd',
  'containerd',
  'docker',
  'buildkit',
  'containers',
  'stargz',
  'soci',
  'overlaybd',
  'crane',
  'oras',
  'damselfly',
  'dragonfly',
  'none',
  'other',
] as const;
export type ClientKind = (typeof CLIENT_KINDS)[number];

/**
 * Who asks, by how its User-Agent begins (lower case). A product's own name comes before its libraries', so the first
 * words decide; longer names stand before those that they begin with (`containerd-stargz-grpc` before `containerd`).
 */
const BEGINNINGS: readonly (readonly [string, ClientKind])[] = [
  ['nydus', 'nydusd'],
  ['containerd-stargz', 'stargz'],
  ['stargz', 'stargz'],
  ['containerd', 'containerd'],
  ['docker', 'docker'],
  ['buildkit', 'buildkit'],
  ['containers/', 'containers'],
  ['skopeo', 'containers'],
  ['podman', 'containers'],
  ['libpod', 'containers'],
  ['buildah', 'containers'],
  ['cri-o', 'containers'],
  ['soci', 'soci'],
  ['overlaybd', 'overlaybd'],
  ['crane', 'crane'],
  ['go-containerregistry', 'crane'],
  ['oras', 'oras'],
  ['dfdaemon', 'dragonfly'],
  ['dfget', 'dragonfly'],
  ['dragonfly', 'dragonfly'],
  ['damselfly', 'damselfly'],
];

/** `none` for an absent or empty User-Agent: nydusd before 2.4.3 and everything that hides. */
export function clientKind(userAgent: string | undefined): ClientKind {
  if (userAgent === undefined || userAgent === '') return 'none';
  const text = userAgent.slice(0, 32).toLowerCase();
  for (const [beginning, kind] of BEGINNINGS) {
    if (text.startsWith(beginning)) return kind;
  }
  return 'other';
}
