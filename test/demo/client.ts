import { createHash } from 'node:crypto';
import type { Agent } from 'node:http';
import { type HttpAnswer, httpGet } from '../support/http-get.ts';

export interface Account {
  readonly name: string;
  readonly password: string;
}

/** What one client asked the node for, and got. */
export interface Received {
  bytes: number;
  requests: number;
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

/**
 * An image client as containerd is one: asks without a credential, follows the challenge to the token endpoint, and
 * goes on with the token. Whatever it gets is compared with its digest.
 */
export class ImageClient {
  readonly received: Received = { bytes: 0, requests: 0 };
  readonly #nodeUrl: string;
  readonly #repository: string;
  readonly #query: string;
  readonly #account: Account;
  readonly #agent: Agent;
  readonly #signal: AbortSignal;
  #authorization: string | undefined;

  constructor(parts: {
    nodeUrl: string;
    repository: string;
    /** Host of the registry, sent as `ns`. */
    namespace: string | undefined;
    account: Account;
    agent: Agent;
    signal: AbortSignal;
  }) {
    this.#nodeUrl = parts.nodeUrl;
    this.#repository = parts.repository;
    this.#query = parts.namespace === undefined ? '' : `?ns=${encodeURIComponent(parts.namespace)}`;
    this.#account = parts.account;
    this.#agent = parts.agent;
    this.#signal = parts.signal;
  }

  /** Manifest by tag and digest, config and layers at once: containerd's order. */
  async pull(tag: string): Promise<void> {
    const head = await this.#get(`manifests/${tag}`, { method: 'HEAD' });
    const manifest = await this.#verified(`manifests/${head.header('docker-content-digest')}`);
    const { config, layers } = manifest.json() as { config: Descriptor; layers: Descriptor[] };
    await Promise.all([config, ...layers].map(({ digest }) => this.#verified(`blobs/${digest}`)));
  }

  /** @param span half-open, in bytes of the blob. */
  async read(digest: string, span: { readonly start: number; readonly end: number }): Promise<Buffer> {
    const headers = { range: `bytes=${span.start}-${span.end - 1}` };
    const answer = await this.#get(`blobs/${digest}`, { headers });
    if (answer.status !== 206 || answer.bytes !== span.end - span.start) {
      throw new Error(`${headers.range} of ${digest}: status ${answer.status}, ${answer.bytes} bytes`);
    }
    return answer.body;
  }

  async #verified(path: string): Promise<HttpAnswer> {
    const answer = await this.#get(path);
    const found = `sha256:${createHash('sha256').update(answer.body).digest('hex')}`;
    if (answer.status !== 200 || !path.endsWith(found)) {
      throw new Error(`${path}: status ${answer.status}, digest ${found}`);
    }
    return answer;
  }

  async #get(
    path: string,
    options: { readonly method?: string; readonly headers?: Record<string, string> } = {},
  ): Promise<HttpAnswer> {
    for (let attempt = 1; ; attempt++) {
      const headers = {
        accept: 'application/vnd.oci.image.manifest.v1+json, */*',
        ...options.headers,
        ...(this.#authorization === undefined ? {} : { authorization: this.#authorization }),
      };
      const answer = await httpGet(`${this.#nodeUrl}/v2/${this.#repository}/${path}${this.#query}`, {
        ...options,
        headers,
        agent: this.#agent,
        signal: this.#signal,
      });
      this.received.requests++;
      if (answer.status === 401 && attempt === 1) {
        await this.#fetchToken(answer.header('www-authenticate') ?? '');
        continue;
      }
      if (!answer.complete) throw new Error(`${path}: cut after ${answer.bytes} bytes (${answer.failure})`);
      if (answer.status >= 300) throw new Error(`${path}: status ${answer.status}\n${answer.body}`);
      this.received.bytes += answer.bytes;
      return answer;
    }
  }

  /** Token requests go to the realm itself and not through the node, as containerd's do. */
  async #fetchToken(challenge: string): Promise<void> {
    const field = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1] ?? '';
    const { name, password } = this.#account;
    const query = new URLSearchParams({ service: field('service'), scope: field('scope') });
    const answer = await httpGet(`${field('realm')}?${query}`, {
      headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` },
      signal: this.#signal,
    });
    this.#authorization = `Bearer ${(answer.json() as { token: string }).token}`;
  }
}
