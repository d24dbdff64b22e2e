process.env.UV_THREADPOOL_SIZE ??= '16';
const { serveCommand } = await import('../../src/commands/serve.ts');
await serveCommand().parseAsync(process.argv.slice(3), { from: 'user' });
