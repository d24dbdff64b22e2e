import { DamselflyError, hasCode } from '../../../src/errors.ts';
import type { HostPort, Member } from '../../member.ts';
import { unreachable } from '../channel.ts';

/**
 * Tries the addresses of a member: the next one when the one before has failed, or has not answered for a
 * while; the first that is proven to be the member wins, and the others are given up.
 * @throws DamselflyError the most telling failure: a refusal before an address that nobody answers at.
 */
export async function dialMember<T>(
  to: Member,
  dial: (address: HostPort, signal: AbortSignal) => Promise<T>,
  options: {
    readonly nextAddressMs: number;
    readonly discard: (late: T) => void;
    readonly signal: AbortSignal;
  },
): Promise<T> {
  const { signal, nextAddressMs, discard } = options;
  if (to.data.length === 0) throw unreachable('it names no address of its data plane');
  signal.throwIfAborted();
  const over = new AbortController();
  const ended = AbortSignal.any([signal, over.signal]);
  const failures: unknown[] = [];
  return new Promise<T>((resolve, reject) => {
    let next = 0;
    let running = 0;
    let isSettled = false;
    let timer: NodeJS.Timeout | undefined;
    const settle = (): void => {
      isSettled = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      over.abort();
    };
    const abort = (): void => {
      if (isSettled) return;
      settle();
      reject(signal.reason);
    };
    const start = (): void => {
      clearTimeout(timer);
      const address = to.data[next];
      if (address === undefined || isSettled) return;
      next += 1;
      running += 1;
      timer = setTimeout(start, nextAddressMs);
      dial(address, ended).then(
        (won) => {
          running -= 1;
          if (isSettled) {
            discard(won);
            return;
          }
          settle();
          resolve(won);
        },
        (error: unknown) => {
          running -= 1;
          failures.push(error);
          if (isSettled) return;
          if (next < to.data.length) start();
          else if (running === 0) {
            settle();
            reject(mostTelling(failures));
          }
        },
      );
    };
    signal.addEventListener('abort', abort);
    start();
  });
}

function mostTelling(failures: readonly unknown[]): unknown {
  const ours = failures.filter((error) => error instanceof DamselflyError);
  return ours.find((error) => !hasCode(error, 'peer-unreachable')) ?? ours[0] ?? failures[0];
}
