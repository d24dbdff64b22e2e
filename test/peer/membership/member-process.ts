// A member in a process of its own: prints its address and id, and runs until it is killed.
// member-process.ts NETWORK_KEY_HEX STATIC_ADDRESS
import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { Membership } from '../../../peer/membership/membership.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { NO_METRICS } from './no-metrics.ts';

const [, , key = '', contact = ''] = process.argv;
const membership = await Membership.start({
  identity: Identity.generate(),
  keys: new NetworkKeys([new NetworkKey(Buffer.from(key, 'hex'))]),
  config: {
    listen: ['/ip4/127.0.0.1/tcp/0'],
    announce: [],
    zone: undefined,
    discovery: { static: [contact], dns: [], mdns: false, bootstrap: [] },
  },
  data: [],
  resolve: async () => [],
  folder: undefined,
  log: silentLogger,
  metrics: NO_METRICS,
});
console.log(membership.self.id);
