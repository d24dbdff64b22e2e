import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { TlsExchange } from '../../../peer/exchange/tls/tls-exchange.ts';
import type { ExchangeHandlers } from '../../../peer/exchange.ts';
import { makeCertificate } from '../../../peer/identity/certificate.ts';
import { Identity } from '../../../peer/identity/identity.ts';
import { parseKeyFile } from '../../../peer/identity/network-key-file.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { DISTINCT_PIECES, makePieces } from './content.ts';
import type { HolderSetup } from './job.ts';

const pieces = makePieces();
const pieceOf = (index: number): Buffer => pieces[index % DISTINCT_PIECES] ?? Buffer.alloc(0);

/** Has every piece in memory. @returns the port that it listens on. */
export async function startHolder(setup: HolderSetup): Promise<number> {
  const identity = Identity.fromPem(setup.identity);
  if (setup.way !== 'exchange') return startPlain(identity);
  const exchange = await TlsExchange.create({
    identity,
    keys: new NetworkKeys(parseKeyFile('bench', setup.networkKey)),
    pool: { take: (length) => Buffer.allocUnsafeSlow(length), give: () => undefined },
    log: silentLogger,
  });
  const signature = new Uint8Array(64);
  const handlers: ExchangeHandlers = {
    onAsk: async () => undefined,
    onReport: () => undefined,
    onInquiry: (_from, inquiry) => ({ ...inquiry, size: undefined, holders: [], leases: [], isFresh: false }),
    awaitPiece: async () => true,
    onFetch: async (_from, { piece }) => ({
      kind: 'piece',
      bytes: pieceOf(piece),
      voucher: { kind: 'attested', by: identity.id, signature },
      release: () => undefined,
    }),
  };
  const [address] = await exchange.listen([{ host: '127.0.0.1', port: 0 }], handlers);
  return address?.port ?? 0;
}

/** Sends a piece for each four bytes that name one: nothing of a protocol besides. */
async function startPlain(identity: Identity): Promise<number> {
  const server = createServer({ ...(await makeCertificate(identity)), minVersion: 'TLSv1.3' }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (asked: Buffer) => {
      for (let at = 0; at + 4 <= asked.length; at += 4) socket.write(pieceOf(asked.readUInt32BE(at)));
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return (server.address() as AddressInfo).port;
}
