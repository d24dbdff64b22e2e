import { type Found, failed, skipped } from '../check.ts';

/** What one client's configuration says, as the registry of clients judges it. */
export interface ClientFinding {
  readonly verdict: 'ok' | 'warning' | 'failed';
  /** The file that it is about, as the client sees it. */
  readonly path: string;
  readonly message: string;
  readonly remedy: string | undefined;
}

export interface ClientsWorld {
  readonly clients: readonly {
    readonly name: string;
    /** None at all when the client is not configured on this host. */
    judge(signal: AbortSignal): Promise<readonly ClientFinding[]>;
  }[];
}

/** The image clients of this host: found, parsed, judged. One whose files cannot be understood does not hide the others. */
export async function checkClients({ clients }: ClientsWorld, signal: AbortSignal): Promise<Found[]> {
  const found = await Promise.all(
    clients.map(async ({ name, judge }): Promise<Found[]> => {
      try {
        const findings = await judge(signal);
        return findings.map(({ verdict, path, message, remedy }) => {
          return { subject: `${name} ${path}`, verdict, what: message, remedy };
        });
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        return [
          failed(
            name,
            `its configuration cannot be judged: ${why}`,
            'Mend that file, or set the client up anew with "damselfly setup"',
          ),
        ];
      }
    }),
  );
  const all = found.flat();
  return all.length > 0 ? all : [skipped(undefined, 'no image client is configured on this host')];
}
