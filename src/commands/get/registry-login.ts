import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Challenge, parseChallenges } from '../../origin/challenge.ts';
import { DockerConfig } from '../../origin/docker-config.ts';
import { headerValues } from '../../origin/headers.ts';
import type { HttpClient } from '../../origin/http-client.ts';
import type { Reply } from '../../origin/reply.ts';
import { basic, fetchToken } from '../../origin/token-flow.ts';
import type { RegistryTarget } from './target.ts';

/** Answers a registry's challenge as docker does: with the user's own login if there is one, else anonymously. */
export class RegistryLogin {
  readonly #http: Pick<HttpClient, 'send'>;
  readonly #logins: DockerConfig;

  /** @param notify told of a docker config.json or helper that cannot be used. */
  constructor(http: Pick<HttpClient, 'send'>, notify: (message: string) => void) {
    this.#http = http;
    const folder = process.env.DOCKER_CONFIG || join(homedir(), '.docker');
    const path = join(folder, 'config.json');
    this.#logins = new DockerConfig(path, (message) => {
      // Having no docker login at all is the usual case.
      if (!message.endsWith(': ENOENT')) notify(message);
    });
  }

  /**
   * @returns an Authorization value for the target, or undefined when the challenge cannot be met.
   * @throws DamselflyError of the token endpoint.
   */
  async answer(
    target: Pick<RegistryTarget, 'origin' | 'repository'>,
    refusal: Reply,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(headerValues(refusal.rawHeaders, 'www-authenticate'));
    const login = await this.#logins.loginFor(new URL(target.origin).host, signal);
    if (login?.kind === 'bearer') return `Bearer ${login.token}`;
    const bearer = challenges.find(isBearer);
    if (bearer !== undefined) {
      const { credential } = await fetchToken(this.#http, {
        challenge: bearer,
        repository: target.repository,
        login,
        // A password goes out in the clear only where the user wrote http for the registry itself.
        mayCarry: (realm) => realm.protocol === 'https:' || target.origin.startsWith('http:'),
        signal,
      });
      return credential.headers().authorization;
    }
    const wantsBasic = challenges.some((challenge) => challenge.scheme === 'basic');
    return wantsBasic && login?.kind === 'password' ? basic(login) : undefined;
  }
}

function isBearer(challenge: Challenge): boolean {
  return challenge.scheme === 'bearer' && challenge.parameters.has('realm');
}
