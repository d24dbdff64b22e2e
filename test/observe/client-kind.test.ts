import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientKind, clientKind } from '../../src/observe/client-kind.ts';

const SEEN: readonly [string | undefined, ClientKind][] = [
  [undefined, 'none'],
  ['', 'none'],
  ['nydusd/1.0.0', 'nydusd'],
  ['containerd/1.6.20~ds1', 'containerd'],
  ['containerd/v2.1.0+unknown', 'containerd'],
  ['containerd-stargz-grpc/v0.18.2', 'stargz'],
  ['stargz-snapshotter/0.18', 'stargz'],
  [
    'docker/24.0.5 go/go1.20.6 git-commit/a61e2b4 kernel/5.15 os/linux arch/amd64 UpstreamClient(Docker-Client/24.0.5)',
    'docker',
  ],
  ['Docker-Client/19.03.8 (linux)', 'docker'],
  ['buildkit/v0.13', 'buildkit'],
  ['containers/5.36.1 (github.com/containers/image)', 'containers'],
  ['skopeo/1.9.3', 'containers'],
  ['Buildah/1.37.0', 'containers'],
  ['cri-o/1.29.1 go/go1.21.1 os/linux arch/amd64', 'containers'],
  ['soci-snapshotter/0.15.0', 'soci'],
  ['overlaybd/1.0.13', 'overlaybd'],
  ['crane/0.22.1 go-containerregistry/0.22.1', 'crane'],
  ['go-containerregistry/v0.20.1', 'crane'],
  ['oras/1.3.6', 'oras'],
  ['oras-go', 'oras'],
  ['dfdaemon/2.3', 'dragonfly'],
  ['dragonfly-client/1.0', 'dragonfly'],
  ['damselfly/0.1.0', 'damselfly'],
  ['curl/8.5.0', 'other'],
  ['Mozilla/5.0 (containerd)', 'other'],
];

for (const [userAgent, kind] of SEEN) {
  test(`${JSON.stringify(userAgent)} is ${kind}`, () => assert.equal(clientKind(userAgent), kind));
}
