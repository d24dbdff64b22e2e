import assert from 'node:assert/strict';
import { it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { httpGet } from '../../support/http-get.ts';
import { clientLab } from '../clients/support/lab.ts';

const MIB = 1 << 20;
const KINDS: readonly (readonly [kind: string, userAgent: string | undefined])[] = [
  ['none', undefined],
  ['nydusd', 'nydusd/1.0.0'],
  ['containerd', 'containerd/2.4.2'],
  ['stargz', 'containerd-stargz-grpc/v0.18.2'],
  ['soci', 'soci-snapshotter/0.15.0'],
  ['containers', 'containers/5.36.1 (github.com/containers/image)'],
  ['docker', 'docker/29.7.0 go/go1.24'],
  ['buildkit', 'buildkit/v0.25'],
  ['overlaybd', 'overlaybd/1.0.14'],
  ['other', 'curl/8.5.0'],
];

it('8.31 each kind of client: what it asked for, when its heads came, how long its ranges were; and what the origin sent', async (t) => {
  const { node, origin, layers } = await clientLab(t);
  const [, layer] = layers;
  const values = async (): Promise<Map<string, number>> => {
    const text = (await httpGet(`http://${node.addresses.metrics[0]}/metrics`)).body.toString();
    return new Map(
      text.split('\n').flatMap((line) => {
        const [, series, value] = /^([a-z]\S*) (\S+)$/i.exec(line) ?? [];
        return series === undefined ? [] : [[series, Number(value)] as const];
      }),
    );
  };
  const bytes = 100_000;
  for (const [index, [, agent]] of KINDS.entries()) {
    const start = (index % 8) * MIB;
    const headers = {
      Range: `bytes=${start}-${start + bytes - 1}`,
      ...(agent === undefined ? {} : { 'User-Agent': agent }),
    };
    assert.equal(
      (await httpGet(node.url + layer.path, { headers: headers as Record<string, string> })).status,
      206,
    );
  }
  await origin.idle();
  const kinds = KINDS.map(([kind]) => kind);
  const found = await eventually(async () => {
    const now = await values();
    return (
      kinds.every((kind) => now.get(`damselfly_requested_bytes_total{client="${kind}"}`) === bytes) && now
    );
  });
  for (const kind of kinds) {
    assert.equal(found.get(`damselfly_requests_total{client="${kind}",result="ok"}`), 1, kind);
    assert.equal(found.get(`damselfly_time_to_head_seconds_count{client="${kind}"}`), 1, kind);
  }
  assert.equal(found.get('damselfly_range_bytes_count'), kinds.length);
  const fromOrigin = [...found].find(([series]) =>
    series.startsWith('damselfly_received_bytes_total{source="origin"'),
  )?.[1];
  // The headline number is the one through the other.
  assert.equal(fromOrigin, origin.bytesSent());
  const traffic = found.get('dragonfly_client_download_traffic{type="REMOTE_PEER"}') ?? 0;
  assert.equal(traffic, 0);
});
