import { Flight as Right } from '../../../src/content/flight.ts';
import type { Passenger } from '../../../src/content/passengers.ts';
import { DamselflyError } from '../../../src/errors.ts';

export * from '../../../src/content/flight.ts';

export class Flight extends Right {
  override leave(passenger: Passenger): void {
    super.leave(passenger);
    this.abort(new DamselflyError('deadline', 'One reader has left'));
  }
}
