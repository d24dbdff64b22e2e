/**
 * The one table of what can go wrong, by stable code. Scripts match on the code, operators look it up in
 * docs/errors.md (a test holds the two equal). `status` is what a client of port 4001 gets: of our own trouble always 502, 503
 * or 504, since nydusd never asks the origin after a 404 or 429 (see the contract, "Statuses").
 */
export const ERRORS = {
  'request-malformed': {
    status: 400,
    meaning: 'The request line, a header or the URL cannot be understood.',
  },
  'method-not-allowed': { status: 405, meaning: 'The method is not possible on this address.' },
  'range-not-satisfiable': { status: 416, meaning: 'The range starts at or past the end of the blob.' },
  // Not 416, though RFC 9110 §15.5.17 would have it: on a 400 podman asks again for fewer chunks and stargz for one
  // range; on a 416 both give the layer up.
  'too-many-ranges': { status: 400, meaning: 'More than 64 ranges, or more bytes than the blob has.' },
  'target-forbidden': {
    status: 403,
    meaning: 'The target address is link-local, metadata, unspecified or an unlisted loopback one.',
  },
  'origin-unknown': {
    status: 502,
    meaning: 'The request names no origin, and no default origin is configured.',
  },
  'origin-not-listed': {
    status: 503,
    meaning: 'proxy.allowOrigins is "listed" and this origin is not in origins.',
  },
  'tunnel-port': {
    status: 503,
    meaning: 'CONNECT goes to port 443 of any host, and to other ports of listed origins only.',
  },
  'tunnels-full': { status: 503, meaning: 'As many CONNECT tunnels are open as this node takes.' },
  'intercept-failed': {
    status: 503,
    meaning: 'No certificate can be signed for an intercepted tunnel: the CA of proxy.intercept has expired.',
  },
  'origin-unreachable': { status: 502, meaning: 'No connection to the origin: name, network or TLS.' },
  'origin-timeout': {
    status: 504,
    meaning: 'The origin did not answer, or its body stalled, within the deadline.',
  },
  'origin-failing': {
    status: 503,
    meaning: 'The circuit breaker of this origin is open after repeated failures.',
  },
  'origin-busy': {
    status: 503,
    meaning:
      'Too many requests are queued for this origin, or it asked to be left alone (429, 503 with Retry-After) on a read of our own.',
  },
  'origin-broken': {
    status: 502,
    meaning: 'The origin broke the protocol: wrong range, wrong length, redirect loop, 5xx, lost body.',
  },
  'rights-unknown': {
    status: 503,
    meaning:
      'The origin cannot be asked whether this requester may read this, and access.whenOriginDown is "deny".',
  },
  'digest-mismatch': {
    status: 502,
    meaning: 'The bytes do not match their digest; nothing of them is kept.',
  },
  'blob-contested': {
    status: 503,
    meaning: "Another origin's bytes lie under this digest, and are not proven yet.",
  },
  deadline: { status: 504, meaning: 'The bytes could not be had within the time that clients wait.' },
  'store-corrupt': {
    status: 502,
    meaning: 'A cached piece no longer matches its digest; it is dropped and read again.',
  },
  'store-unreadable': {
    status: 503,
    meaning: 'The cache disk failed, or did not answer in time, in the middle of a read.',
  },
  'shutting-down': { status: 503, meaning: 'The node is stopping.' },
  'config-invalid': { status: 500, meaning: 'The configuration has a key or value that is not understood.' },
  'cache-unusable': {
    status: 500,
    meaning: 'The cache directory cannot be used: another process holds its lock.',
  },
  'client-config-unusable': {
    status: 500,
    meaning:
      "An image client's configuration file cannot be read, parsed, written, or edited without changing what else is in it.",
  },
  'client-config-changed': {
    status: 500,
    meaning: 'A file was changed after setup wrote it, and undoing would lose that change.',
  },
  'listen-failed': { status: 500, meaning: 'A listen address is taken or cannot be bound.' },
  'node-unreachable': {
    status: 500,
    meaning: 'No Damselfly answers at the address that the command looked at.',
  },
  'output-failed': { status: 500, meaning: 'The output file cannot be written.' },
  'prefetch-busy': { status: 503, meaning: 'All prefetch slots of this node are taken; ask again later.' },
  'cache-busy': {
    status: 503,
    meaning: 'The cache is being checked or tidied already; ask again when that is through.',
  },
  'blob-unknown': { status: 500, meaning: 'A command named a digest of which the cache has nothing.' },
  'digest-unclear': {
    status: 400,
    meaning: 'What a command was given is no digest, or the beginning of several.',
  },
  'token-required': {
    status: 401,
    meaning: 'The admin API wants the bearer token of admin.tokenFile, and got none or another.',
  },
  'admin-forbidden': {
    status: 403,
    meaning:
      'The admin API changes things only for callers with its token or, when none is configured, on this host.',
  },
  'origin-refused': {
    status: 500,
    meaning: 'The origin refused what a command asked it for: it is not there, or not for this login.',
  },
  'reference-malformed': { status: 400, meaning: 'An image reference or URL cannot be understood.' },
  'peer-unreachable': {
    status: 502,
    meaning: 'No connection to another node: it could not be dialled in time, or the connection broke.',
  },
  'peer-refused': {
    status: 502,
    meaning:
      'The other side is no member of this network, not the node that was meant, or speaks no version that we do.',
  },
  'peer-broken': { status: 502, meaning: 'Another node broke the protocol between nodes.' },
  'network-key-invalid': {
    status: 500,
    meaning: 'The network key file cannot be read, or holds something else than network keys.',
  },
  'identity-unusable': {
    status: 500,
    meaning: "The node's own key in cache.dir cannot be read, is damaged, or cannot be written.",
  },
  internal: { status: 502, meaning: 'A fault of Damselfly itself; the log has its details.' },
} as const satisfies Record<string, { status: number; meaning: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** Facts of an error, shown to the user and the log. Never a secret: no header values, no query strings. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | undefined>>;

export class DamselflyError extends Error {
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;

  /** @param message what is wrong with which thing, and what to do: one sentence each, no trailing full stop needed. */
  constructor(code: ErrorCode, message: string, options: { facts?: ErrorFacts; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DamselflyError';
    this.code = code;
    this.facts = options.facts ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}

const ORIGIN_DOWN: ReadonlySet<ErrorCode> = new Set([
  'origin-unreachable',
  'origin-timeout',
  'origin-failing',
  'origin-busy',
  'origin-broken',
]);

/** The origin has no word now, and `access.whenOriginDown` decides. All other errors are the request's own. */
export function isOriginDown(error: unknown): error is DamselflyError {
  return error instanceof DamselflyError && ORIGIN_DOWN.has(error.code);
}

export function hasCode(error: unknown, code: ErrorCode): error is DamselflyError {
  return error instanceof DamselflyError && error.code === code;
}

/**
 * The origin's own 4xx, to be passed on as it is: status, header lines in their order and spelling, and the body.
 * It is an answer, not a fault: nothing retries it, counts it as a failure or remembers it.
 */
export class OriginRefusal extends Error {
  readonly status: number;
  /** Name, value, name, value …; hop-by-hop headers are removed already. */
  readonly rawHeaders: readonly string[];
  /** Bounded by the origin module (64 KiB); a challenge or an error document. */
  readonly body: Uint8Array;

  constructor(status: number, rawHeaders: readonly string[], body: Uint8Array) {
    super(`the origin answered ${status}`);
    this.name = 'OriginRefusal';
    this.status = status;
    this.rawHeaders = rawHeaders;
    this.body = body;
  }
}
