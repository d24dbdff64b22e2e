import { readFileSync } from 'node:fs';
import { isMap, isPair, isScalar, isSeq, LineCounter, type Node, parse, parseDocument } from 'yaml';
import { DamselflyError } from '../src/errors.ts';
import { isMapping, type Layer, type Problem } from './layer.ts';

/** Read when it exists and no file is named. */
export const DEFAULT_FILE = '/etc/damselfly/damselfly.yaml';

/**
 * @param file the one named by `-c`, which must exist.
 * @returns null when no file is named and there is none at the default place.
 */
export function readConfigText(
  file: string | undefined,
  defaultFile: string,
): { file: string; text: string } | null {
  const name = file ?? defaultFile;
  try {
    return { file: name, text: readFileSync(name, 'utf8') };
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (file === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) return null;
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : `${code}`;
    throw new DamselflyError(
      'config-invalid',
      `${name} cannot be read: ${why}. Name another with -c FILE, or make it readable for this user`,
      { cause, facts: { file: name } },
    );
  }
}

/** Parses YAML 1.2 (JSON included). Syntax errors are problems with their line; their text is not repeated. */
export function fileLayer(file: string, text: string): { layer: Layer; problems: Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => `${file}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => ({
      path: 'YAML',
      message: `cannot be understood: ${error.message}`,
      where: at(error.pos[0]),
    }));
    return { layer: { values: {}, locate: () => undefined }, problems };
  }
  const values: unknown = document.toJS({ maxAliasCount: 100 });
  if (values === null || values === undefined)
    return { layer: { values: {}, locate: () => undefined }, problems: [] };
  if (!isMapping(values))
    return {
      layer: { values: {}, locate: () => undefined },
      problems: [
        {
          path: 'the configuration',
          message: 'is no mapping; expected keys such as proxy: or cache:',
          where: at(0),
        },
      ],
    };
  const locate = (path: readonly PropertyKey[]): string | undefined => {
    const offset = offsetOf(document.contents, path);
    return offset === undefined ? undefined : at(offset);
  };
  return { layer: { values, locate }, problems: [] };
}

export function parseYaml(text: string): unknown {
  return parse(text, { maxAliasCount: 0 });
}

/** Where the key at `path`, or the nearest mapping around it, is written. */
function offsetOf(root: Node | null, path: readonly PropertyKey[]): number | undefined {
  let node: unknown = root;
  let offset: number | undefined;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === step);
      if (pair === undefined) return offset;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}
