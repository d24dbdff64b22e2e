import { buildkit } from './buildkit.ts';
import type { ClientTarget } from './client-target.ts';
import { containerd } from './containerd.ts';
import { crio, podman } from './containers.ts';
import { docker } from './docker.ts';
import { nydusSnapshotter } from './nydus-snapshotter.ts';
import { nydusd } from './nydusd.ts';
import { overlaybd } from './overlaybd.ts';
import { soci } from './soci.ts';
import { stargz } from './stargz.ts';

/** Every client that `setup` configures and `doctor` judges. */
export const TARGETS: readonly ClientTarget[] = [
  containerd,
  nydusSnapshotter,
  nydusd,
  stargz,
  soci,
  podman,
  crio,
  docker,
  buildkit,
  overlaybd,
];
