import { BaseRoute as Right } from '../../../src/proxy/base-route.ts';
import type { Call } from '../../../src/proxy/call.ts';

export * from '../../../src/proxy/base-route.ts';

export class BaseRoute extends Right {
  override async handle(call: Call): Promise<void> {
    call.writeHead(200, ['Content-Length', '2']);
    call.response.end('{}');
  }
}
