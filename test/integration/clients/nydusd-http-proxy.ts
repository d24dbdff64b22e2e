import { Connections } from './support/connections.ts';
import { demand } from './support/refused.ts';
import { head, linesOf } from './support/requests.ts';
import type { Place } from './support/wire.ts';

/** nydusd's `http-proxy` backend (clients.md 3.7): a unix socket is one blob, an address has many by their hex names. */
export class NydusdHttpProxy implements Disposable {
  readonly #connections: Connections;
  readonly #place: Place;
  readonly #path: string;

  /** @param path of the backend's configuration, over TCP. */
  constructor(place: Place, path = '') {
    this.#place = place;
    this.#connections = new Connections(place);
    this.#path = path;
  }

  /** Over a unix socket it panics without a length, and asks with a range that must not matter to a HEAD. */
  async size(hex: string): Promise<number> {
    const fields: Record<string, string> = 'path' in this.#place ? { range: 'bytes=0-' } : {};
    const answer = await this.#connections.ask(this.#request('HEAD', hex, fields), { method: 'HEAD' });
    const length = answer.header('content-length');
    demand(length !== undefined, 'panicked: HEAD without a length');
    return Number(length);
  }

  /** The status is not looked at over a unix socket: whatever comes is taken for the bytes. */
  async read(hex: string, start: number, end: number): Promise<Buffer> {
    const request = this.#request('GET', hex, { range: `bytes=${start}-${end - 1}` });
    const answer = await this.#connections.ask(request, { method: 'GET' });
    if (!('path' in this.#place)) demand(answer.status < 300, `a read: ${answer.status}`, answer.status);
    demand(answer.body.length === end - start, `${answer.body.length} bytes`);
    return answer.body;
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]();
  }

  #request(method: string, hex: string, fields: Readonly<Record<string, string>>): string {
    if ('path' in this.#place) return head(method, '/', linesOf({ ...fields, host: 'localhost' }));
    const { host, port } = this.#place;
    return head(
      method,
      `${this.#path}/${hex}`,
      linesOf({ ...fields, accept: '*/*', host: `${host}:${port}` }),
    );
  }
}
