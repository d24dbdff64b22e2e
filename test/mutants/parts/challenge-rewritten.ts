import type { ServerResponse } from 'node:http';
import { OriginRefusal } from '../../../src/errors.ts';
import { respondRefusal as right } from '../../../src/proxy/respond.ts';

export * from '../../../src/proxy/respond.ts';

export function respondRefusal(response: ServerResponse, refusal: OriginRefusal): void {
  const lines = refusal.rawHeaders.map((part) => part.replace(/^bearer/, 'Bearer'));
  right(response, new OriginRefusal(refusal.status, lines, refusal.body));
}
