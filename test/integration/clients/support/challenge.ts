import { type HttpAnswer, httpGet } from '../../../support/http-get.ts';
import { demand } from './refused.ts';

export interface Challenge {
  readonly scheme: 'basic' | 'bearer';
  readonly parameters: Readonly<Record<string, string>>;
}

export interface Login {
  readonly user: string;
  readonly password: string;
}

export function basic({ user, password }: Login): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** A WWW-Authenticate line as the Go clients read it; undefined for none. @throws ClientError for one they cannot use. */
export function parseChallenge(line: string | undefined): Challenge | undefined {
  if (line === undefined) return undefined;
  const [, scheme = '', rest = ''] = /^(\S+)\s*(.*)$/.exec(line) ?? [];
  demand(/^(basic|bearer)$/i.test(scheme), `a challenge of an unknown kind: ${line}`);
  const parameters: Record<string, string> = {};
  for (const [, name = '', value = ''] of rest.matchAll(/(\w+)="([^"]*)"/g)) parameters[name] = value;
  demand(parameters.realm !== undefined, `a challenge without a realm: ${line}`);
  return { scheme: scheme.toLowerCase() as Challenge['scheme'], parameters };
}

/** The Authorization that answers a challenge; a token is fetched from the realm itself, past every mirror. */
export async function answerChallenge(
  challenge: Challenge,
  scope: string,
  login: Login | undefined,
): Promise<string> {
  if (challenge.scheme === 'basic') {
    demand(login !== undefined, 'a login is asked for, and there is none');
    return basic(login);
  }
  const url = new URL(challenge.parameters.realm ?? '');
  url.searchParams.set('service', challenge.parameters.service ?? '');
  url.searchParams.set('scope', scope);
  const headers: Record<string, string> = login === undefined ? {} : { Authorization: basic(login) };
  return tokenOf(await httpGet(url, { headers }));
}

/** @throws ClientError when the endpoint gave none. */
export function tokenOf(answer: Pick<HttpAnswer, 'status' | 'json'>): string {
  demand(answer.status === 200, `the token endpoint answered ${answer.status}`, answer.status);
  const { token, access_token: other } = answer.json() as { token?: string; access_token?: string };
  const value = token ?? other;
  demand(value !== undefined, 'the token endpoint gave no token');
  return `Bearer ${value}`;
}
