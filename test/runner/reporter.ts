import { inspect } from 'node:util';
import type { EndLine, TestLine } from './outcome.ts';

/** The parts of node's test events that we read (node's documentation, "Class: TestsStream"). */
interface TestEvent {
  readonly type: string;
  readonly data: {
    readonly name?: string;
    readonly nesting?: number;
    readonly skip?: string | boolean;
    readonly todo?: string | boolean;
    readonly details?: { readonly duration_ms?: number; readonly type?: string; readonly error?: unknown };
  };
}

/**
 * A node:test reporter: one JSON line for each test that ran or was left out. A suite, or a test with subtests, is a
 * line of its own only when it failed by itself (a hook) or was skipped whole.
 */
// biome-ignore lint/style/noDefaultExport: node loads a reporter by its default export
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const path: string[] = [];
  for await (const { type, data } of events) {
    if (type === 'test:start') {
      path.length = data.nesting ?? 0;
      path.push(data.name ?? '');
    } else if (type === 'test:pass' || type === 'test:fail') {
      const line = toLine(type, data, path);
      path.length = data.nesting ?? 0;
      if (line !== undefined) yield `${JSON.stringify(line)}\n`;
    } else if (type === 'test:summary') {
      yield `${JSON.stringify({ result: 'end' } satisfies EndLine)}\n`;
    }
  }
}

function toLine(type: string, data: TestEvent['data'], path: readonly string[]): TestLine | undefined {
  const at = {
    path: [...path.slice(0, data.nesting ?? 0), data.name ?? ''],
    ms: data.details?.duration_ms ?? 0,
  };
  if (type === 'test:fail' && !isTodo(data)) {
    const error = data.details?.error;
    if (failureType(error) === 'subtestsFailed') return undefined;
    return { ...at, result: 'failed', detail: describe(error) };
  }
  if (isSet(data.skip)) {
    return {
      ...at,
      result: 'skipped',
      detail: typeof data.skip === 'string' ? data.skip : 'no reason given',
    };
  }
  if (isTodo(data)) {
    return {
      ...at,
      result: 'skipped',
      detail: `to do: ${typeof data.todo === 'string' ? data.todo : 'no reason given'}`,
    };
  }
  if (data.details?.type === 'suite') return undefined;
  return { ...at, result: 'passed', detail: undefined };
}

function isTodo(data: TestEvent['data']): boolean {
  return isSet(data.todo);
}

/** `skip: ''` and `skip: true` both skip; false and undefined do not. */
function isSet(value: string | boolean | undefined): boolean {
  return value !== undefined && value !== false;
}

function failureType(error: unknown): unknown {
  return error instanceof Error && 'failureType' in error ? error.failureType : undefined;
}

function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const text = typeof cause === 'string' ? cause : inspect(cause, { depth: 4, breakLength: 110 });
  return text
    .split('\n')
    .filter((line) => !/^\s+at .*\(?node:internal\//.test(line))
    .join('\n');
}
