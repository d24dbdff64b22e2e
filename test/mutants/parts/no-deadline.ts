import { Call as Right } from '../../../src/proxy/call.ts';

export * from '../../../src/proxy/call.ts';

export class Call extends Right {
  override headWithin(): void {
    // However long it takes.
  }
}
