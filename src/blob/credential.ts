import { inspect } from 'node:util';

/**
 * What a requester showed us: its Authorization and Cookie header values, or neither. It goes to the origin that the
 * requester named and nowhere else; every accidental way into a log or a JSON document prints a placeholder.
 */
export class Credential {
  static readonly anonymous: Credential = new Credential(undefined, undefined);

  readonly #authorization: string | undefined;
  readonly #cookie: string | undefined;

  private constructor(authorization: string | undefined, cookie: string | undefined) {
    this.#authorization = authorization;
    this.#cookie = cookie;
  }

  static of(authorization: string | undefined, cookie?: string | undefined): Credential {
    if (authorization === undefined && cookie === undefined) return Credential.anonymous;
    return new Credential(authorization, cookie);
  }

  get isAnonymous(): boolean {
    return this.#authorization === undefined && this.#cookie === undefined;
  }

  /** The header lines to send to the origin that this credential is meant for. */
  headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    if (this.#authorization !== undefined) headers.authorization = this.#authorization;
    if (this.#cookie !== undefined) headers.cookie = this.#cookie;
    return headers;
  }

  /** Input of the keyed hash under which rights are remembered; never store or print it. */
  secret(): string {
    return JSON.stringify([this.#authorization ?? null, this.#cookie ?? null]);
  }

  toString(): string {
    return this.isAnonymous ? '[anonymous]' : '[credential]';
  }

  toJSON(): string {
    return this.toString();
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
