// A member in a process of its own, of the insecure network: prints whom it knows each time that it changes.
//   node member-process.ts '{"listen":"/ip4/127.0.0.1/tcp/0","static":["10.0.0.1:4006"],"mdns":false}'
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { Membership } from '../../../peer/membership/membership.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { NO_METRICS } from './no-metrics.ts';

const options = JSON.parse(process.argv[2] ?? '{}');
const membership = await Membership.start({
  identity: Identity.generate(),
  keys: NetworkKeys.insecure(),
  config: {
    listen: [options.listen],
    announce: [],
    zone: undefined,
    discovery: { static: options.static ?? [], dns: [], mdns: options.mdns ?? false, bootstrap: [] },
  },
  data: [],
  resolve: async () => [],
  folder: undefined,
  log: silentLogger,
  metrics: NO_METRICS,
});

function report(): void {
  const { self } = membership;
  const knows = membership.live().map(({ id }) => id);
  console.log(JSON.stringify({ id: self.id, control: self.control, knows }));
}

membership.onChange(report);
report();
