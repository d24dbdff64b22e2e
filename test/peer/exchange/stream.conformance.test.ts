import { StreamNetwork } from '../../support/peer/stream-network.ts';
import { exchangeConformance } from './conformance.ts';

exchangeConformance('libp2p streams', async () => new StreamNetwork());
