import { DamselflyError } from '../src/errors.ts';
import { environmentLayer } from './environment.ts';
import { DEFAULT_FILE, fileLayer, parseYaml, readConfigText } from './file.ts';
import { flagLayer } from './flags.ts';
import { CONFIG_KEYS, type ConfigKey } from './keys.ts';
import { isMapping, type Layer, merge, type Problem } from './layer.ts';
import { problemsOf } from './problems.ts';
import { type Config, configSchema, toConfig } from './schema.ts';
import { warningsOf } from './warnings.ts';

export interface LoadOptions {
  /** From `-c`; must exist. Without it DEFAULT_FILE is read if it exists. */
  readonly file?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** `a.b=value`, from `--set`. */
  readonly set?: readonly string[];
  /** For tests. */
  readonly defaultFile?: string;
}

/**
 * Reads the configuration: flags over environment over file over defaults.
 * @throws DamselflyError config-invalid that tells every problem, one line each.
 */
export function loadConfig(options: LoadOptions = {}): { config: Config; warnings: string[] } {
  const read = [
    ...fileLayers(options),
    environmentLayer(options.env ?? {}, parseYaml),
    flagLayer(options.set ?? [], parseYaml),
  ];
  const layers = read.map(({ layer }) => layer);
  const values = withoutEmptyMappings(
    layers.reduce<unknown>((under, { values }) => merge(under, values), {}),
  );
  const problems = read.flatMap((one) => one.problems);
  const parsed = configSchema.safeParse(values);
  if (!parsed.success) problems.push(...problemsOf(parsed.error, values, (path) => locate(layers, path)));
  if (problems.length > 0 || !parsed.success) throw refusal(problems);
  const config = toConfig(parsed.data);
  return { config, warnings: warningsOf(config) };
}

function fileLayers(options: LoadOptions): { layer: Layer; problems: Problem[] }[] {
  const found = readConfigText(options.file, options.defaultFile ?? DEFAULT_FILE);
  return found === null ? [] : [fileLayer(found.file, found.text)];
}

/** The layer that had the last word on a path. */
function locate(layers: readonly Layer[], path: readonly PropertyKey[]): string | undefined {
  for (const layer of layers.toReversed()) {
    const where = layer.locate(path);
    if (where !== undefined) return where;
  }
  return undefined;
}

/** A bare `proxy:` (null), which is what is left when all its keys are commented out, means its defaults. */
function withoutEmptyMappings(values: unknown, keys: readonly ConfigKey[] = CONFIG_KEYS): unknown {
  if (!isMapping(values)) return values;
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => {
      const key = keys.find((one) => one.path.at(-1) === name);
      if (key === undefined || key.kind === 'value') return [[name, value]];
      if (value === null) return [];
      return [[name, key.kind === 'mapping' ? withoutEmptyMappings(value, key.keys) : value]];
    }),
  );
}

function refusal(problems: readonly Problem[]): DamselflyError {
  const lines = problems.map(({ path, message, where }) => {
    return `  ${path}: ${message}${where === undefined ? '' : ` (${where})`}`;
  });
  const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  return new DamselflyError('config-invalid', `the configuration has ${count}:\n${lines.join('\n')}`, {
    facts: { problems: problems.length },
  });
}
