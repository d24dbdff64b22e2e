import type { Digest } from '../blob/digest.ts';
import type { Upstream } from '../blob/upstream.ts';
import type { Verdict } from './verdict.ts';

/** A question on its way to an origin, shared by everyone who has the same one. */
export interface OpenQuestion {
  /** Null: given up without a word, whoever still wants to know asks again. Never rejects. */
  readonly answer: Promise<Verdict | null>;
}

/** What origins are being asked now, by requester hash, kind and digest. */
export class OpenQuestions {
  readonly #questions = new Map<string, OpenQuestion>();
  /** By requester hash, the first question under way that will also tell (a). */
  readonly #leaders = new Map<string, OpenQuestion>();

  same(reader: string, upstream: Upstream, digest: Digest): OpenQuestion | undefined {
    return this.#questions.get(keyOf(reader, upstream, digest));
  }

  /** Whose answer tells whether this requester may read the repository, whatever blob it is about. */
  leader(reader: string): OpenQuestion | undefined {
    return this.#leaders.get(reader);
  }

  /** @param answer never rejects; the question is open until it settles. */
  add(reader: string, upstream: Upstream, digest: Digest, answer: Promise<Verdict | null>): OpenQuestion {
    const key = keyOf(reader, upstream, digest);
    const question: OpenQuestion = {
      answer: answer.finally(() => {
        if (this.#questions.get(key) === question) this.#questions.delete(key);
        if (this.#leaders.get(reader) === question) this.#leaders.delete(reader);
      }),
    };
    if (!this.#questions.has(key)) this.#questions.set(key, question);
    if (!this.#leaders.has(reader)) this.#leaders.set(reader, question);
    return question;
  }
}

function keyOf(reader: string, upstream: Upstream, digest: Digest): string {
  return `${reader} ${upstream.kind} ${digest}`;
}
