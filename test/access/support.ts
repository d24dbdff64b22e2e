import { createHash } from 'node:crypto';
import { AccessGate, type AccessGateOptions } from '../../src/access/access-gate.ts';
import type { OriginAnswer, QuestionOptions, RightsOrigin } from '../../src/access/rights-question.ts';
import { Credential } from '../../src/blob/credential.ts';
import { type Digest, digestOf } from '../../src/blob/digest.ts';
import type { OriginId, Upstream } from '../../src/blob/upstream.ts';
import { silentLogger } from '../../src/observe/log.ts';
import { Metrics } from '../../src/observe/metrics.ts';
import type { Fact, FactKind, FactTable } from '../../src/store/facts.ts';

export const ORIGIN = 'https://registry.example.com' as OriginId;
export const OTHER_ORIGIN = 'https://other.example.com' as OriginId;
export const MINUTE_MS = 60_000;

/** The digest of a blob that is called so in a test. */
export function digestNamed(name: string): Digest {
  return digestOf(Buffer.from(name));
}

/** `who` becomes a bearer token; undefined is somebody without a credential. */
export function upstreamOf(
  who: string | undefined,
  repository = 'team/app',
  origin: OriginId = ORIGIN,
): Upstream {
  const credential = Credential.of(who === undefined ? undefined : `Bearer ${who}`);
  return { origin, repository, kind: 'blob', credential };
}

/** As the index keeps facts: what `load` gives is what was there at the last (re)start. */
export class FakeFacts implements FactTable {
  readonly rows = new Map<FactKind, Map<string, Fact>>();
  readonly writes: string[] = [];

  load(kind: FactKind): readonly Fact[] {
    return [...(this.rows.get(kind)?.values() ?? [])];
  }

  put(kind: FactKind, fact: Fact): void {
    this.writes.push(`put ${kind}`);
    let rows = this.rows.get(kind);
    if (rows === undefined) {
      rows = new Map();
      this.rows.set(kind, rows);
    }
    rows.delete(fact.key);
    rows.set(fact.key, fact);
  }

  remove(kind: FactKind, key: string): void {
    this.writes.push(`remove ${kind}`);
    this.rows.get(kind)?.delete(key);
  }
}

export interface Question {
  readonly upstream: Upstream;
  readonly digest: Digest;
  readonly options: QuestionOptions;
  /** `Bearer x` or 'nobody'. */
  readonly who: string;
  answer(status: number, headers?: readonly string[]): void;
  fail(error: unknown): void;
}

/** An origin whose every HEAD waits until the test answers it, or `policy` does. */
export class FakeOrigin implements RightsOrigin {
  readonly questions: Question[] = [];
  policy: ((question: Question) => void) | undefined;

  head(upstream: Upstream, digest: Digest, options: QuestionOptions): Promise<OriginAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<OriginAnswer>();
    const question: Question = {
      upstream,
      digest,
      options,
      who: upstream.credential.headers().authorization ?? 'nobody',
      answer: (status, headers = []) => resolve(answerOf(status, headers)),
      fail: reject,
    };
    this.questions.push(question);
    this.policy?.(question);
    return promise;
  }

  /** The `index`th question so far. */
  at(index: number): Question {
    const question = this.questions[index];
    if (question === undefined) throw new Error(`no question ${index}; there are ${this.questions.length}`);
    return question;
  }
}

export function answerOf(status: number, rawHeaders: readonly string[] = []): OriginAnswer {
  return {
    status,
    rawHeaders,
    header: (name) => {
      const at = rawHeaders.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === name);
      return at < 0 ? undefined : rawHeaders[at + 1];
    },
  };
}

export interface World {
  readonly gate: AccessGate;
  readonly origin: FakeOrigin;
  readonly facts: FakeFacts;
  readonly metrics: Metrics;
  readonly clock: { nowMs: number };
  outcomes(): Promise<Record<string, number>>;
}

export function makeWorld(options: Partial<AccessGateOptions> & { facts?: FakeFacts } = {}): World {
  const origin = new FakeOrigin();
  const facts = options.facts ?? new FakeFacts();
  const metrics = new Metrics();
  const clock = { nowMs: 1_000_000_000 };
  const gate = new AccessGate({
    mode: 'requester',
    ttlMs: 5 * MINUTE_MS,
    graceMs: 24 * 60 * MINUTE_MS,
    whenOriginDown: 'deny',
    origin,
    log: silentLogger,
    metrics,
    now: () => clock.nowMs,
    ...options,
    facts,
  });
  const outcomes = async () => {
    const found: Record<string, number> = {};
    for (const { labels, value } of (await metrics.rightsChecks.get()).values) {
      if (value > 0) found[String(labels.outcome)] = value;
    }
    return found;
  };
  return { gate, origin, facts, metrics, clock, outcomes };
}

/** Answers every question by a table of who may read which repository, as a registry would. */
export function registryPolicy(
  readers: Readonly<Record<string, readonly string[]>>,
  blobs: Readonly<Record<string, readonly Digest[]>>,
): (question: Question) => void {
  return ({ upstream, digest, who, answer }) => {
    if (!(readers[upstream.repository] ?? []).includes(who)) {
      answer(401, ['Www-Authenticate', challengeOf(upstream.repository)]);
    } else if (!(blobs[upstream.repository] ?? []).includes(digest)) {
      answer(404, ['Content-Type', 'application/json']);
    } else {
      answer(200, ['Content-Length', '1234', 'Content-Type', 'application/octet-stream']);
    }
  };
}

export function challengeOf(repository: string): string {
  return `Bearer realm="https://auth.example.com/token",service="x",scope="repository:${repository}:pull"`;
}

/** Lets everything that is ready to run, run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export function sha256Of(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
