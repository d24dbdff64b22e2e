import type { RefusalReason } from './hello.ts';

export type TransportName = 'tls' | 'libp2p';
export type DialFailure = 'timeout' | 'connection-refused' | 'unreachable' | 'name' | 'other';

/** What an exchange counts; `ExchangeMetrics` of src/observe fits. */
export interface ExchangeCounters {
  handshakeDone(transport: TransportName, side: 'in' | 'out'): void;
  refused(transport: TransportName, side: 'in' | 'out', reason: RefusalReason): void;
  dialed(transport: TransportName): void;
  dialFailed(transport: TransportName, reason: DialFailure): void;
  pieceReceived(transport: TransportName, urgency: 'demand' | 'prefetch', bytes: number): void;
  pieceSent(transport: TransportName, urgency: 'demand' | 'prefetch', bytes: number): void;
  firstByte(seconds: number): void;
  busyAnswered(): void;
}

const nothing = (): void => undefined;

export const NO_COUNTERS: ExchangeCounters = {
  handshakeDone: nothing,
  refused: nothing,
  dialed: nothing,
  dialFailed: nothing,
  pieceReceived: nothing,
  pieceSent: nothing,
  firstByte: nothing,
  busyAnswered: nothing,
};
