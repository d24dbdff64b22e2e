import { startHolder } from './holder.ts';
import type { HolderSetup, ReaderSetup, ReadJob } from './job.ts';
import { Reader } from './reader.ts';

// One side of a pair, in a process of its own; the bench talks to it over its channel, and it ends with that.

let reader: Reader | undefined;

process.on('message', (message: HolderSetup | ReaderSetup | ReadJob) => {
  work(message).then(
    (answer) => process.send?.({ answer }),
    (error: Error) => process.send?.({ error: error.stack }),
  );
});
process.on('disconnect', () => process.exit());

async function work(message: HolderSetup | ReaderSetup | ReadJob): Promise<unknown> {
  if (message.role === 'holder') return startHolder(message);
  if (message.role === 'reader') {
    reader = await Reader.start(message);
    return undefined;
  }
  return reader?.read(message);
}
