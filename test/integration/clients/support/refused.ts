/** What a client's own code makes an error of: the pull fails, or goes on elsewhere. */
export class ClientError extends Error {
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.status = status;
  }
}

/** @throws ClientError when it does not hold. */
export function demand(holds: boolean, message: string, status?: number): asserts holds {
  if (!holds) throw new ClientError(message, status);
}
