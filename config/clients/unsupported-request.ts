/** The client cannot be set up as asked: the command line is to be changed. The message says why and to what. */
export class UnsupportedRequest extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnsupportedRequest';
  }
}
