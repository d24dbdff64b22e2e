import { ERRORS } from '../../src/errors.ts';
import { Metrics } from '../../src/observe/metrics.ts';

/** The table of errors that operators look a code up in. */
export function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, meaning }]) => `| \`${code}\` | ${status} | ${meaning} |`,
  );
  return page(
    'Errors',
    'Every error has a stable code: in the log, in the body of an answer and in `--json`. The status is what a client of the proxy port gets.',
    ['code', 'status', 'meaning'],
    rows,
  );
}

/** What a node exports on the metrics port. */
export async function metricsPage(): Promise<string> {
  const metrics = await new Metrics().registry.getMetricsAsJSON();
  const rows = metrics
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
  return page(
    'Metrics',
    '`GET /metrics` on port 4002. Names that begin with `dragonfly_client_` have the meaning that they have there.',
    ['name', 'type', 'meaning'],
    rows,
  );
}

function page(title: string, text: string, columns: readonly string[], rows: readonly string[]): string {
  const head = `| ${columns.join(' | ')} |\n|${columns.map(() => '---').join('|')}|`;
  return `# ${title}\n\n${text}\n\n${head}\n${rows.join('\n')}\n\nWritten by \`npm run docs\`; a test holds it equal to the code.\n`;
}
