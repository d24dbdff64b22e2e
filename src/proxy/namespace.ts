import { DamselflyError } from '../errors.ts';

export interface Namespaced {
  /** The request target without its `ns` arguments; every other byte is where it was. */
  readonly target: string;
  /** Decoded; undefined when there is none or it is empty. */
  readonly namespace: string | undefined;
}

/**
 * Takes the query argument `ns` off a request target (distribution-spec, "Registry Proxying"): it is addressed to the
 * mirror and must not go upstream. The rest is left byte for byte, as it may be signed.
 */
export function takeNamespace(url: string): Namespaced {
  const question = url.indexOf('?');
  if (question < 0 || !url.includes('ns=', question + 1)) return { target: url, namespace: undefined };
  const kept: string[] = [];
  let namespace: string | undefined;
  for (const argument of url.slice(question + 1).split('&')) {
    if (!argument.startsWith('ns=')) {
      kept.push(argument);
      continue;
    }
    const value = decode(argument.slice(3));
    if (value === '') continue;
    if (namespace !== undefined && namespace !== value)
      throw new DamselflyError('request-malformed', 'The query names two different ns: send one');
    namespace = value;
  }
  const path = url.slice(0, question);
  return { target: kept.length === 0 ? path : `${path}?${kept.join('&')}`, namespace };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new DamselflyError('request-malformed', 'The query ns is not percent-encoded correctly', { cause });
  }
}
