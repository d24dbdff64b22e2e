import { TlsNetwork } from '../../support/peer/tls-network.ts';
import { exchangeConformance } from './conformance.ts';

exchangeConformance('TLS sockets', async () => new TlsNetwork());
