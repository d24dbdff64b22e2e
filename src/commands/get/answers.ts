import { DamselflyError } from '../../errors.ts';
import { ExchangeFailure } from '../../origin/exchange.ts';
import { type Reply, readBodyStart } from '../../origin/reply.ts';
import { reasonOf, systemCode } from '../failure.ts';
import type { ObjectTarget, RegistryTarget } from './target.ts';

/** Try the same again on these (RFC 9110 §15.5.9, §15.6; RFC 6585 §4). */
const TRANSIENT: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
/** A longer wish is not waited for: somebody sits in front of this. */
const MAX_RETRY_AFTER_MS = 30_000;
const MAX_ERROR_BYTES = 64 * 1024;
/** Failures of TLS say something of the certificate, not of the moment. */
const LASTING = /^(?:ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_SSL)/;

/** An answer that is of no use, with what decides about another try. */
export class OriginSaid extends Error {
  readonly retryable: boolean;
  readonly retryAfterMs: number;

  constructor(message: string, options: { retryable: boolean; retryAfterMs?: number }) {
    super(message);
    this.name = 'OriginSaid';
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }

  static explain(error: OriginSaid | ExchangeFailure, host: string): DamselflyError {
    if (error instanceof OriginSaid)
      return new DamselflyError('origin-broken', `${host}: ${error.message}`, { cause: error });
    if (error.kind === 'timeout')
      return new DamselflyError('origin-timeout', `${host} did not answer in time; try again later`, {
        cause: error,
      });
    return new DamselflyError(
      'origin-unreachable',
      `${host} cannot be reached: ${reasonOf(error)}. Check the address, the network and HTTPS_PROXY`,
      { cause: error },
    );
  }
}

export function isRetryable(error: unknown): boolean {
  if (error instanceof OriginSaid) return error.retryable;
  return error instanceof ExchangeFailure && !LASTING.test(systemCode(error) ?? '');
}

export function retryAfterMs(error: unknown): number {
  return error instanceof OriginSaid ? error.retryAfterMs : 0;
}

/** What to throw for an answer that is neither bytes nor a redirect. Reads the start of its body. */
export async function refusalOf(
  reply: Reply,
  target: RegistryTarget | ObjectTarget,
): Promise<OriginSaid | DamselflyError> {
  const said = await errorText(reply);
  const host = target.kind === 'registry' ? new URL(target.origin).host : target.url.host;
  if (TRANSIENT.has(reply.status))
    return new OriginSaid(`answered ${reply.status}${said}`, {
      retryable: true,
      retryAfterMs: wishedPauseMs(reply),
    });
  const remedy = REMEDIES[reply.status] ?? 'check the URL';
  return new DamselflyError('origin-refused', `${host} answered ${reply.status}${said}; ${remedy}`, {
    facts: { host, status: reply.status },
  });
}

const REMEDIES: Readonly<Record<number, string>> = {
  400: 'check the URL and the headers',
  401: "log in with `docker login`, or give the origin's Authorization with -H",
  403: 'this login may not read it, or a signed URL has expired',
  404: 'check host, repository and digest; many registries answer so to who may not read it',
  407: 'the HTTP proxy on the way wants a login',
};

/** The message of a registry's error document (distribution specification, "Error codes"), one line of it. */
async function errorText(reply: Reply): Promise<string> {
  try {
    const body = await readBodyStart(reply.body, MAX_ERROR_BYTES);
    const document = JSON.parse(body.toString('utf8')) as {
      errors?: { code?: unknown; message?: unknown }[];
    };
    const first = document.errors?.[0];
    const text = [first?.code, first?.message].filter((part) => typeof part === 'string').join(': ');
    const printable = [...text].filter((letter) => letter >= ' ' && letter !== '\x7f').join('');
    return printable === '' ? '' : ` (${printable.slice(0, 200)})`;
  } catch {
    return '';
  }
}

function wishedPauseMs(reply: Reply): number {
  const value = reply.header('retry-after') ?? '';
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS) : 0;
}
