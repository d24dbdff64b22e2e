import type { Credential } from '../blob/credential.ts';
import type { Digest } from '../blob/digest.ts';
import type { OriginId, Upstream } from '../blob/upstream.ts';
import { DamselflyError, isOriginDown, OriginRefusal } from '../errors.ts';
import type { Logger } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { FactTable } from '../store/facts.ts';
import { OpenQuestions } from './open-questions.ts';
import { RequesterHash } from './requester-hash.ts';
import { type MemberOf, RightsBook, rightsKey } from './rights-book.ts';
import { denied, fault, unanswered } from './rights-errors.ts';
import { askOrigin, type RightsOrigin } from './rights-question.ts';
import type { BlobFacts, Verdict } from './verdict.ts';
import { UNANSWERED, waitFor } from './wait-for.ts';

/** The node's own credentials (docker config.json and its helpers), as `access.mode: node` lends them to requests. */
export interface NodeCredentials {
  /** Credential.anonymous where the node has none for this origin. */
  credentialFor(
    origin: OriginId,
    repository: string,
    options: { readonly signal: AbortSignal },
  ): Promise<Credential>;
}

export interface AccessGateOptions {
  readonly mode: 'requester' | 'node';
  readonly ttlMs: number;
  readonly graceMs: number;
  readonly whenOriginDown: 'deny' | 'allow';
  readonly facts: FactTable;
  readonly origin: RightsOrigin;
  readonly nodeCredentials?: NodeCredentials | undefined;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch; Date.now unless given. */
  readonly now?: (() => number) | undefined;
  /** How long one requester waits for a verdict unless `ask` says otherwise: inside `proxy.headersTimeout` (2.5 s). */
  readonly patienceMs?: number | undefined;
  /** How long the question itself goes on for those who come later: inside the 25 s of rangeless requests. */
  readonly questionMs?: number | undefined;
  readonly maxReaders?: number | undefined;
  readonly maxMembers?: number | undefined;
  readonly maxTags?: number | undefined;
}

const DEFAULT_PATIENCE_MS = 2_000;
const DEFAULT_QUESTION_MS = 20_000;
/** An origin that is down is said once a minute, not with every read. */
const GRACE_LOG_INTERVAL_MS = 60_000;
const MAX_GRACE_LOGS = 256;

/** Stands for whatever credential the node uses: its tokens change every few minutes, its rights do not. */
const NODE_SECRET = '\0node';

/**
 * Decides whether a requester may read a blob, before anything of a hit leaves the node. Two facts are needed and kept
 * apart: (a) this credential may read this repository; (b) this digest belongs to this repository of this origin. Both
 * together only ever come from what the origin answered; without both it is asked with the requester's own credential.
 */
export class AccessGate {
  readonly #options: AccessGateOptions;
  readonly #now: () => number;
  readonly #patienceMs: number;
  readonly #book: RightsBook;
  readonly #hash: RequesterHash;
  readonly #nodeIssued = new WeakSet<Credential>();
  readonly #questions = new OpenQuestions();
  readonly #graceLoggedAtMs = new Map<OriginId, number>();
  readonly #stopping = new AbortController();

  constructor(options: AccessGateOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
    this.#hash = new RequesterHash(rightsKey(options.facts));
    this.#book = new RightsBook({
      facts: options.facts,
      ttlMs: options.ttlMs,
      graceMs: options.whenOriginDown === 'allow' ? options.graceMs : 0,
      now: this.#now,
      maxReaders: options.maxReaders,
      maxMembers: options.maxMembers,
      maxTags: options.maxTags,
    });
  }

  /** From memory, at the cost of a few look-ups: true when the blob may leave at once. Ask once per request. */
  known(upstream: Upstream, digest: Digest): boolean {
    if (!this.#knows(this.#readerHash(upstream), upstream, digest)) return false;
    this.#options.metrics.rightsChecks.inc({ outcome: 'known' });
    return true;
  }

  /**
   * Asks the origin, once for all who have the same question at the same time. A waiter that hangs up leaves alone;
   * the question goes on, since its answer serves the next read.
   * @param signal the waiter's own; its reason is thrown when it aborts.
   * @param options.patienceMs how long this waiter can wait; then the origin counts as down.
   */
  async ask(
    upstream: Upstream,
    digest: Digest,
    signal: AbortSignal,
    options: { readonly patienceMs?: number } = {},
  ): Promise<Verdict> {
    const verdict = await this.#ask(upstream, digest, signal, options.patienceMs ?? this.#patienceMs);
    return this.#settle(upstream, digest, verdict);
  }

  /**
   * Makes a read that has just been begun with this requester's own credential the question that others with the same
   * one wait for, so that no HEAD is spent beside it. When it is given up (its reader hung up), they ask for themselves.
   * @param opening resolves once the origin accepted the read, rejects with its OriginRefusal or the trouble.
   * @returns the verdict for the reader that began it; a fault that is not the origin's is thrown as `opening` threw it.
   */
  async during(upstream: Upstream, digest: Digest, opening: Promise<BlobFacts>): Promise<Verdict> {
    const reader = this.#readerHash(upstream);
    const { answer } = this.#questions.add(reader, upstream, digest, this.#opened(upstream, digest, opening));
    const verdict = await answer;
    if (verdict !== null) return this.#settle(upstream, digest, verdict);
    // A fault of this opening and no word of the origin: it is for the opener alone.
    return { kind: 'granted', ...(await opening) };
  }

  /** True while somebody with the same credential has this very question under way: `ask` joins it. */
  isPending(upstream: Upstream, digest: Digest): boolean {
    return this.#questions.same(this.#readerHash(upstream), upstream, digest) !== undefined;
  }

  /**
   * What an origin's answer to a GET or HEAD of the blob with this credential teaches: 2xx and 3xx both facts, 401 and
   * 403 that (a) no longer holds, anything else nothing.
   */
  learn(upstream: Upstream, digest: Digest, status: number): void {
    if (status >= 200 && status < 400) {
      this.#book.learnReader(this.#readerHash(upstream));
      this.#book.learnMember(upstream.origin, upstream.repository, digest);
    } else if (status === 401 || status === 403) {
      this.forget(upstream);
    }
  }

  /** (b) of what a manifest names that was read in that repository. See manifestDescriptors. */
  learnMembers(origin: OriginId, repository: string, digests: Iterable<Digest>): void {
    for (const digest of digests) this.#book.learnMember(origin, repository, digest);
  }

  /** Where these digests were seen to belong, see {@link RightsBook.repositoriesOf}: for the node's owner, not its clients. */
  repositoriesOf(digests: ReadonlySet<Digest>, maxEach: number): Map<Digest, MemberOf[]> {
    return this.#book.repositoriesOf(digests, maxEach);
  }

  /** What the origin said a tag means; the digest thereby belongs to the repository. */
  learnTag(origin: OriginId, repository: string, tag: string, digest: Digest): void {
    this.#book.learnTag(origin, repository, tag, digest);
    this.#book.learnMember(origin, repository, digest);
  }

  /**
   * What to take a tag for while its origin is down: the last digest that this node saw for it, under
   * `access.whenOriginDown: allow` and for a requester whose right was known within `access.grace`.
   */
  lastDigestOfTag(upstream: Upstream, tag: string): Digest | undefined {
    if (this.#options.whenOriginDown !== 'allow') return undefined;
    if (!this.#book.couldRead(this.#readerHash(upstream))) return undefined;
    const digest = this.#book.digestOfTag(upstream.origin, upstream.repository, tag);
    if (digest === undefined || !this.#book.isMember(upstream.origin, upstream.repository, digest))
      return undefined;
    return digest;
  }

  /** The origin answered this credential 401 or 403: (a) is forgotten at once. Others' rights stay. */
  forget(upstream: Upstream): void {
    this.#book.forgetReader(this.#readerHash(upstream));
  }

  /**
   * As whom the origin is asked and read: under `access.mode: node` a request without a credential gets the node's; a
   * requester's own is never replaced.
   */
  effective(upstream: Upstream, signal?: AbortSignal): Upstream | Promise<Upstream> {
    const { mode, nodeCredentials } = this.#options;
    if (mode !== 'node' || nodeCredentials === undefined || !upstream.credential.isAnonymous) return upstream;
    return this.#lend(nodeCredentials, upstream, signal ?? this.#stopping.signal);
  }

  /** Ends questions under way; their waiters get `shutting-down`. */
  close(): void {
    this.#stopping.abort(new DamselflyError('shutting-down', 'The node is stopping'));
    this.#hash.clear();
  }

  async #lend(credentials: NodeCredentials, upstream: Upstream, signal: AbortSignal): Promise<Upstream> {
    const credential = await credentials.credentialFor(upstream.origin, upstream.repository, { signal });
    if (credential.isAnonymous) return upstream;
    this.#nodeIssued.add(credential);
    return { ...upstream, credential };
  }

  #readerHash({ origin, repository, credential }: Upstream): string {
    const lent =
      this.#options.mode === 'node' && (credential.isAnonymous || this.#nodeIssued.has(credential));
    return this.#hash.of(origin, repository, lent ? NODE_SECRET : credential.secret());
  }

  #knows(reader: string, upstream: Upstream, digest: Digest): boolean {
    return this.#book.mayRead(reader) && this.#book.isMember(upstream.origin, upstream.repository, digest);
  }

  /**
   * 1. What was learned meanwhile. 2. The same question under way, or, where only (a) is missing, any question of this
   * requester in this repository: nydusd renews its token in mid-mount and then reads many blobs at once. 3. A HEAD.
   */
  async #ask(upstream: Upstream, digest: Digest, signal: AbortSignal, patienceMs: number): Promise<Verdict> {
    const reader = this.#readerHash(upstream);
    const deadlineMs = performance.now() + patienceMs;
    let led = false;
    for (;;) {
      signal.throwIfAborted();
      if (this.#knows(reader, upstream, digest)) return { kind: 'granted' };
      let question = this.#questions.same(reader, upstream, digest);
      const same = question !== undefined;
      if (!led && this.#book.isMember(upstream.origin, upstream.repository, digest)) {
        question ??= this.#questions.leader(reader);
        led = true;
      }
      const mine = question === undefined;
      question ??= this.#questions.add(reader, upstream, digest, this.#question(upstream, digest));
      const verdict = await waitFor(question.answer, signal, deadlineMs - performance.now());
      if (verdict === UNANSWERED) return { kind: 'unreachable', error: unanswered(upstream, patienceMs) };
      if (verdict === null) continue;
      // Another digest's refusal is not this one's answer; an origin that is down is down for both.
      if (same || mine || verdict.kind === 'unreachable') return verdict;
    }
  }

  /** One HEAD with its own deadline. Always a verdict. */
  async #question(upstream: Upstream, digest: Digest): Promise<Verdict> {
    const questionMs = this.#options.questionMs ?? DEFAULT_QUESTION_MS;
    const own = new AbortController();
    const signal = AbortSignal.any([own.signal, this.#stopping.signal]);
    const asking = (async () => {
      const asked = await this.effective(upstream, signal);
      return askOrigin(this.#options.origin, asked, digest, signal);
    })();
    const answered = waitFor(asking, this.#stopping.signal, questionMs).then((facts) => {
      if (facts !== UNANSWERED) return facts;
      throw new DamselflyError('origin-timeout', `${upstream.origin} did not answer within ${questionMs} ms`);
    });
    try {
      return await this.#judge(upstream, digest, answered);
    } catch (error) {
      if (error instanceof DamselflyError) return { kind: 'unreachable', error };
      this.#options.log.error(
        { err: error, origin: upstream.origin },
        'asking for rights failed unexpectedly',
      );
      return { kind: 'unreachable', error: fault(upstream, error) };
    } finally {
      own.abort();
    }
  }

  /** An opening may fail for reasons of its own (a hang-up, a full queue): null then. */
  async #opened(upstream: Upstream, digest: Digest, opening: Promise<BlobFacts>): Promise<Verdict | null> {
    try {
      return await this.#judge(upstream, digest, opening);
    } catch {
      return null;
    }
  }

  /** Turns what came of a question into a verdict and learns from it; throws on what says nothing on the rights. */
  async #judge(upstream: Upstream, digest: Digest, asked: Promise<BlobFacts>): Promise<Verdict> {
    try {
      const { size, mediaType } = await asked;
      this.learn(upstream, digest, 200);
      return { kind: 'granted', size, mediaType };
    } catch (error) {
      if (error instanceof OriginRefusal) {
        this.learn(upstream, digest, error.status);
        return { kind: 'refused', refusal: error };
      }
      if (isOriginDown(error)) {
        return { kind: 'unreachable', error };
      }
      throw error;
    }
  }

  /** The waiter's own outcome: an origin without a word is `access.whenOriginDown`'s matter. */
  #settle(upstream: Upstream, digest: Digest, verdict: Verdict): Verdict {
    const { metrics, whenOriginDown } = this.#options;
    if (verdict.kind !== 'unreachable' || !isOriginDown(verdict.error)) {
      metrics.rightsChecks.inc({ outcome: verdict.kind });
      return verdict;
    }
    if (whenOriginDown === 'allow' && this.#withinGrace(upstream, digest)) {
      metrics.rightsChecks.inc({ outcome: 'grace' });
      this.#logGrace(upstream.origin, verdict.error);
      return { kind: 'granted' };
    }
    metrics.rightsChecks.inc({ outcome: 'unreachable' });
    return { kind: 'unreachable', error: denied(upstream, whenOriginDown, verdict.error) };
  }

  #withinGrace(upstream: Upstream, digest: Digest): boolean {
    return (
      this.#book.couldRead(this.#readerHash(upstream)) &&
      this.#book.isMember(upstream.origin, upstream.repository, digest)
    );
  }

  #logGrace(origin: OriginId, error: DamselflyError): void {
    const now = this.#now();
    const loggedAtMs = this.#graceLoggedAtMs.get(origin);
    if (loggedAtMs !== undefined && Math.abs(now - loggedAtMs) < GRACE_LOG_INTERVAL_MS) return;
    if (this.#graceLoggedAtMs.size >= MAX_GRACE_LOGS) this.#graceLoggedAtMs.clear();
    this.#graceLoggedAtMs.set(origin, now);
    this.#options.log.warn(
      { origin, code: error.code },
      'the origin is down: requesters known within access.grace read from the cache',
    );
  }
}
