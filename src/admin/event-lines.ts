import { within } from './within.ts';

/** Well inside the patience of the command line (30 s to the head, 60 s between lines). */
const DEFAULT_BEAT_MS = 10_000;

/**
 * Events as NDJSON. Begins with an empty line at once, so that the answer's head is out while the origin is asked, and
 * sends one whenever nothing has happened for a while: both sides learn early that the other is gone.
 */
export async function* asLines(
  events: AsyncGenerator<object>,
  beatMs: number = DEFAULT_BEAT_MS,
): AsyncGenerator<string> {
  try {
    yield '\n';
    for (;;) {
      const next = events.next();
      let result = await within(next, beatMs);
      while (result === undefined) {
        yield '\n';
        result = await within(next, beatMs);
      }
      if (result.done === true) return;
      yield `${JSON.stringify(result.value)}\n`;
    }
  } finally {
    await events.return(undefined);
  }
}
