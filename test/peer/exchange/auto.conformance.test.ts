import { StreamNetwork } from '../../support/peer/stream-network.ts';
import { exchangeConformance } from './conformance.ts';

exchangeConformance('sockets, or streams', async () => new StreamNetwork({ auto: true }));
