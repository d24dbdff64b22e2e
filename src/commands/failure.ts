import { DamselflyError, type ErrorCode } from '../errors.ts';
import { StoppedBySignal } from './signals.ts';

/** The command line itself is wrong. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** The command failed and has told everything itself already. */
export class CommandFailed extends Error {
  constructor() {
    super('the command failed');
    this.name = 'CommandFailed';
  }
}

/** These mean that what was written is wrong and not that something went wrong. */
const USAGE_CODES: ReadonlySet<ErrorCode> = new Set([
  'config-invalid',
  'reference-malformed',
  'digest-unclear',
]);

/** 0 success, 1 failure, 2 bad usage: the command line, a reference or the configuration cannot be understood. */
export type ExitCode = 0 | 1 | 2;

export interface Failure {
  readonly code: ErrorCode | 'usage';
  readonly message: string;
  readonly exitCode: ExitCode;
}

/** What is told of an error: never a stack, which helps nobody at a prompt. */
export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError) return { code: 'usage', message: error.message, exitCode: 2 };
  if (error instanceof DamselflyError)
    return { code: error.code, message: error.message, exitCode: USAGE_CODES.has(error.code) ? 2 : 1 };
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    code: 'internal',
    message: `${text}. This is a fault of damselfly: please report it`,
    exitCode: 1,
  };
}

/** Tells a failure on stderr, and with `--json` as the one document on stdout as well. */
export function reportFailure(command: string, error: unknown, asJson: boolean): ExitCode {
  if (error instanceof CommandFailed) return 1;
  if (error instanceof StoppedBySignal) {
    console.error(`damselfly ${command}: stopped; the same command goes on from here`);
    return 1;
  }
  const { code, message, exitCode } = failureOf(error);
  console.error(`damselfly ${command}: ${message}${code === 'usage' ? '' : ` [${code}]`}`);
  if (code === 'usage') console.error(`Try: damselfly ${command} --help`);
  if (asJson) console.log(failureDocument(code, message));
  return exitCode;
}

/** The one document on stdout of a command with `--json` that failed. */
export function failureDocument(code: Failure['code'], message: string): string {
  return JSON.stringify({ error: { code, message } });
}

/** `ECONNREFUSED` and the like, as words; the code itself when there are none. */
export function reasonOf(error: unknown): string {
  const code = systemCode(error);
  return (code === undefined ? undefined : REASONS[code]) ?? code ?? 'unknown error';
}

export function systemCode(error: unknown): string | undefined {
  if (error instanceof AggregateError) return systemCode(error.errors[0]);
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return error.cause === undefined ? undefined : systemCode(error.cause);
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection closed',
  ETIMEDOUT: 'timed out',
  ENETUNREACH: 'network unreachable',
  EHOSTUNREACH: 'host unreachable',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'the name cannot be resolved at the moment',
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'disk quota exceeded',
  EROFS: 'read-only file system',
  EISDIR: 'it is a folder',
  ENOTDIR: 'a part of the path is no folder',
  EIO: 'input/output error',
  UND_ERR_CONNECT_TIMEOUT: 'no connection within the time limit',
  UND_ERR_HEADERS_TIMEOUT: 'no answer within the time limit',
  UND_ERR_BODY_TIMEOUT: 'the body stalled',
  UND_ERR_SOCKET: 'connection lost',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the body ended early',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate chain ends in an unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is from an unknown authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is from an unknown authority',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another name',
};
