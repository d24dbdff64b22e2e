import type { OriginId } from '../../../src/blob/upstream.ts';
import { OriginDirectory as Right } from '../../../src/origin/origin-directory.ts';

export * from '../../../src/origin/origin-directory.ts';

export class OriginDirectory extends Right {
  override target(url: string, secure: boolean): { origin: OriginId; url: string } {
    const { origin, url: at } = super.target(url, secure);
    if (!url.startsWith('http:')) return { origin, url: at };
    return { origin: origin.replace('https:', 'http:') as OriginId, url: at.replace('https:', 'http:') };
  }
}
