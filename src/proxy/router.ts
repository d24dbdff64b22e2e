import type { IncomingMessage, ServerResponse } from 'node:http';
import { Credential } from '../blob/credential.ts';
import type { Digest } from '../blob/digest.ts';
import type { OriginId, Upstream } from '../blob/upstream.ts';
import { DamselflyError } from '../errors.ts';
import type { OriginDirectory } from '../origin/origin-directory.ts';
import type { BaseRoute } from './base-route.ts';
import type { BlobQuery } from './blob-query.ts';
import type { BlobRoute } from './blob-route.ts';
import { Call, type CallParts } from './call.ts';
import { carriesCredential } from './carries-credential.ts';
import { boundBlob, type Entrance } from './entrance.ts';
import type { ForwardRoute } from './forward-route.ts';
import {
  type AbsoluteRequest,
  type MirrorRequest,
  type PrefixRequest,
  parseIngress,
  parseTunnelled,
} from './ingress.ts';
import type { ManifestRoute } from './manifest-route.ts';
import { chooseOrigin } from './origin-choice.ts';
import type { Resource } from './resource.ts';

export interface RouterParts extends CallParts {
  readonly directory: OriginDirectory;
  readonly blobs: BlobRoute;
  readonly manifests: ManifestRoute;
  readonly base: BaseRoute;
  readonly forward: ForwardRoute;
}

/** Where a request goes, once its form is understood. */
interface Destination {
  readonly origin: OriginId;
  readonly resource: Resource;
  /** Path and query, or the whole URL when `absolute`. */
  readonly target: string;
  readonly absolute: boolean;
  readonly namespace: string | undefined;
  readonly cut?: 'lenient' | 'strict' | undefined;
}

/** Takes every request of the proxy port that is not a health check to its route. Never throws, never leaves one unanswered. */
export class Router {
  readonly #parts: RouterParts;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  async handle(request: IncomingMessage, response: ServerResponse, entrance: Entrance = {}): Promise<void> {
    const call = new Call(request, response, this.#parts);
    let upstream: Upstream | undefined;
    try {
      const destination = this.#destination(request, entrance);
      const { resource, origin, namespace } = destination;
      const credential = Credential.of(request.headers.authorization, request.headers.cookie);
      if (resource.kind === 'blob') {
        upstream = { origin, repository: resource.repository, kind: 'blob', credential };
        await this.#blob(call, { upstream, digest: resource.digest, namespace }, destination);
      } else if (resource.kind === 'manifest') {
        upstream = { origin, repository: resource.repository, kind: 'manifest', credential };
        await this.#parts.manifests.handle(call, {
          upstream,
          reference: resource.reference,
          digest: resource.digest,
          namespace,
        });
      } else if (resource.kind === 'base') {
        await this.#parts.base.handle(call, destination);
      } else if (resource.kind === 'listing') {
        // Some registries answer 400 to a Range there, and clients that fetch in parallel send one (clients.md 8.11).
        const rawHeaders = withoutLine(request.rawHeaders, 'range');
        await this.#parts.forward.handle(call, { ...destination, rawHeaders });
      } else {
        await this.#parts.forward.handle(call, destination);
      }
    } catch (error) {
      if (request.socket.destroyed) return;
      call.fail(error, upstream);
    }
  }

  /** An origin that encodes a blob whatever it was asked for is passed on as it is: its client knows what it gets. */
  async #blob(call: Call, query: BlobQuery, destination: Destination): Promise<void> {
    try {
      await this.#parts.blobs.handle(call, query);
    } catch (error) {
      if (!saysEncoded(error) || call.response.headersSent) throw error;
      await this.#parts.forward.handle(call, destination);
    }
  }

  #destination(request: IncomingMessage, entrance: Entrance): Destination {
    const bound = boundBlob(request, entrance.blob);
    if (bound !== undefined) return this.#bound(bound, entrance.origin);
    const { tunnel } = entrance;
    const ingress = tunnel === undefined ? parseIngress(request) : parseTunnelled(request, tunnel);
    switch (ingress.form) {
      case 'mirror':
        return this.#mirror(ingress, entrance.origin);
      case 'absolute':
      case 'prefix':
        return this.#absolute(ingress, request);
      case 'ping':
      case 'asterisk':
      case 'authority':
        throw new DamselflyError('method-not-allowed', `${request.method} is not possible on this address`);
    }
  }

  #bound(
    { repository, digest }: { readonly repository: string; readonly digest: Digest },
    listenerOrigin: OriginId | undefined,
  ): Destination {
    const origin = listenerOrigin ?? this.#parts.directory.defaultOrigin;
    if (origin === undefined) throw new DamselflyError('origin-unknown', "The listener's blob has no origin");
    return {
      origin,
      resource: { kind: 'blob', repository, digest },
      target: `/v2/${repository}/blobs/${digest}`,
      absolute: false,
      namespace: undefined,
    };
  }

  #mirror(ingress: MirrorRequest, listenerOrigin: OriginId | undefined): Destination {
    const origin = chooseOrigin(ingress, this.#parts.directory, listenerOrigin);
    const usedNamespace = ingress.registry === undefined ? ingress.namespace?.text : undefined;
    return {
      origin,
      resource: ingress.resource,
      target: ingress.target,
      absolute: false,
      namespace: usedNamespace,
    };
  }

  /** A registry's paths, and whatever has a credential on board, go by https unless policy says otherwise. */
  #absolute(ingress: AbsoluteRequest | PrefixRequest, request: IncomingMessage): Destination {
    const { scheme, authority, target, resource } = ingress;
    const isRegistry = target.startsWith('/v2/');
    const port = authority.port === undefined ? '' : `:${authority.port}`;
    const secure = scheme === 'https' || isRegistry || carriesCredential(request, target);
    const { origin, url } = this.#parts.directory.target(
      `${scheme}://${authority.host}${port}${target}`,
      secure,
    );
    // Of registries only blobs have ranges; a tag list or a manifest is whole, whoever asks.
    const cut = isRegistry ? undefined : ingress.form === 'prefix' ? 'strict' : 'lenient';
    return { origin, resource, target: url, absolute: true, namespace: undefined, cut };
  }
}

/** The read was the question of rights too, so that the reason may lie one deeper. */
function saysEncoded(error: unknown): boolean {
  if (!(error instanceof DamselflyError)) return false;
  return error.facts.contentEncoding !== undefined || saysEncoded(error.cause);
}

function withoutLine(rawHeaders: readonly string[], lowerName: string): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = rawHeaders.slice(i, i + 2);
    if (name.toLowerCase() !== lowerName) kept.push(name, value);
  }
  return kept;
}
