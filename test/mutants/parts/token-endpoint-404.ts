import type { Call } from '../../../src/proxy/call.ts';
import { type Forwardable, ForwardRoute as Right } from '../../../src/proxy/forward-route.ts';

export * from '../../../src/proxy/forward-route.ts';

export class ForwardRoute extends Right {
  override async handle(call: Call, target: Forwardable): Promise<void> {
    if (!target.target.includes('/token')) return super.handle(call, target);
    call.writeHead(404, ['Content-Length', '0']);
    call.response.end();
  }
}
