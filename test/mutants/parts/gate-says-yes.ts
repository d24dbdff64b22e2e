import { AccessGate as Right } from '../../../src/access/access-gate.ts';

export * from '../../../src/access/access-gate.ts';

export class AccessGate extends Right {
  override known(): boolean {
    return true;
  }
}
