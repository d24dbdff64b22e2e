#!/usr/bin/env node
// Nothing is imported before the two checks below: an old Node must get as far as the message, and libuv reads the
// size of its thread pool when the pool is first used.
export {};

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(
    `damselfly: Node ${process.versions.node} is too old: 22.19 or later is needed, 24 is meant. ` +
      'Run it with a newer node, or in a checkout with "npm run -s damselfly -- …", which brings its own.',
  );
  process.exitCode = 1;
} else {
  // Disk reads, writes and fsync of many clients at once would queue up behind the usual 4 threads.
  process.env.UV_THREADPOOL_SIZE ??= '16';
  // Bodies are outside of V8's heap; what JavaScript leaves behind per chunk is small and dies at once. A young
  // generation that may not grow keeps some 40 MiB of every node free, and its frequent small collections also free
  // the chunks' buffers early.
  const { setFlagsFromString } = await import('node:v8');
  setFlagsFromString('--semi-space-growth-factor=1');
  // Buffers count for the old generation as well: by V8's own measure a node that fills a blob marked its whole heap
  // again for every ten of them, an eighth of its CPU. The next collection is due when what is alive has doubled.
  setFlagsFromString('--heap-growing-percent=100');
  // A megabyte of young objects is gone through in less time than helpers need to wake up.
  setFlagsFromString('--no-parallel-scavenge');
  const { run } = await import('./commands/program.ts');
  process.exitCode = await run(process.argv.slice(2));
}
