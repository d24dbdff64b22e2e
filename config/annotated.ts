import { stringify } from 'yaml';
import { variableOf } from './environment.ts';
import { CONFIG_KEYS, type ConfigKey } from './keys.ts';

const WIDTH = 100;

const HEADER = `Damselfly's configuration. Every key is here with its default; keys without one are commented out, with an example. An empty file is valid too.
Sizes: 64MiB, 1.5GB, plain numbers are bytes. Times: 500ms, 2.5s, 5m, 24h. Relative paths count from the working directory.
Each key can also be given by an environment variable (DAMSELFLY_PROXY__LISTEN=127.0.0.1:5001) or a flag of serve (--set proxy.listen=127.0.0.1:5001); flags go over the environment, which goes over this file.

Generated from the schema by \`npm run config\`: change the schema, not this file.`;

/** config/damselfly.yaml: loading it gives exactly the defaults. */
export function annotatedYaml(): string {
  const sections = CONFIG_KEYS.map((key) => section(key).join('\n'));
  return `${comment(HEADER, '').join('\n')}\n\n${sections.join('\n\n')}\n`;
}

/** docs/configuration.md: one list per section. */
export function configurationReference(): string {
  const sections = CONFIG_KEYS.map((key) => {
    const entries = flatten(key).map(
      (one) =>
        `- **\`${name(one)}\`**${shownDefault(one)}: ${escaped(one.description)} Takes ${escaped(one.expected)}.`,
    );
    return `## ${key.path[0]}\n\n${escaped(key.description)}\n\n${entries.join('\n')}\n`;
  });
  return `${REFERENCE_HEADER}\n\n${sections.join('\n')}`;
}

const REFERENCE_HEADER = `# Configuration

<!-- Generated from the schema by \`npm run config\`: change the schema, not this file. -->

One YAML file, \`/etc/damselfly/damselfly.yaml\` or the one named by \`-c FILE\`; none at all is valid too.
[config/damselfly.yaml](../config/damselfly.yaml) is the same as below in the form of a file with every default in it.

- A flag \`--set proxy.listen=127.0.0.1:5001\` (of \`serve\`) goes over an environment variable
  \`${variableOf(['proxy', 'listen'])}=127.0.0.1:5001\`, which goes over the file, which goes over the defaults.
  A variable's name is the path in upper case with \`__\` between levels and nothing inside a word
  (\`${variableOf(['proxy', 'defaultOrigin'])}\`). Lists and mappings are given as JSON. Mappings are merged key by key, lists replaced whole.
- Unknown keys and bad values are refused at start, all at once: the key's path, the value, what was expected, and the
  line, variable or flag that said it. The exit code is 2.
- Sizes: \`64MiB\`, \`1.5GB\`, a plain number is bytes. Times carry their unit: \`500ms\`, \`2.5s\`, \`5m\`, \`24h\`.
- Secrets come from files, whose paths are the values. A secret file that other users of the host can read is warned about.
- Relative paths count from the working directory.`;

function section(key: ConfigKey): string[] {
  const title = [
    ...comment(key.description, ''),
    ...(key.kind === 'entries' ? comment(entryNotes(key), '') : []),
  ];
  return [...title, ...keyLines(key, 0)];
}

/** A key's lines without its own comment. */
function keyLines(key: ConfigKey, depth: number): string[] {
  const pad = '  '.repeat(depth);
  const label = `${pad}${key.path.at(-1)}:`;
  if (key.kind === 'mapping') {
    const inner = key.keys.flatMap((one) => commented(one, depth + 1));
    const given = key.keys.some((one) => one.default !== undefined || one.kind === 'mapping');
    return [given ? label : `${label} # nothing is set by default`, ...inner];
  }
  const isUnset = key.default === undefined;
  const isEmptyList = Array.isArray(key.default) && key.default.length === 0;
  const lines = isUnset ? [] : yamlLines(label, key.default, pad);
  if ((isUnset || isEmptyList) && key.example !== undefined)
    lines.push(...yamlLines(label, key.example, pad).map((line) => `${pad}# ${line.slice(pad.length)}`));
  return lines;
}

function commented(key: ConfigKey, depth: number): string[] {
  const pad = '  '.repeat(depth);
  const notes = key.kind === 'entries' ? [`${key.description} ${entryNotes(key)}`] : [key.description];
  return [...notes.flatMap((note) => comment(note, pad)), ...keyLines(key, depth)];
}

/** The keys of a list's entries, told in its comment. */
function entryNotes(key: ConfigKey): string {
  const keys = key.keys.map((one) => {
    const fallback = one.default === undefined ? '' : ` Default: ${JSON.stringify(one.default)}.`;
    return `  ${one.path.at(-1)}: ${one.description}${fallback}`;
  });
  return `Each entry has:\n${keys.join('\n')}`;
}

function yamlLines(label: string, value: unknown, pad: string): string[] {
  const isFlow = !Array.isArray(value) || value.every((item) => typeof item !== 'object');
  const text = stringify(value, {
    collectionStyle: isFlow ? 'flow' : 'block',
    lineWidth: 0,
    flowCollectionPadding: false,
  }).trimEnd();
  return isFlow ? [`${label} ${text}`] : [label, ...text.split('\n').map((line) => `${pad}  ${line}`)];
}

function comment(text: string, pad: string): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const indent = /^ */.exec(paragraph)?.[0] ?? '';
    const lines: string[] = [];
    let line = '';
    for (const word of paragraph.trim().split(' ')) {
      const longer = line === '' ? word : `${line} ${word}`;
      const hang = lines.length === 0 ? indent : `${indent}${indent === '' ? '' : '  '}`;
      if (line !== '' && `${pad}# ${hang}${longer}`.length > WIDTH) {
        lines.push(`${hang}${line}`);
        line = word;
      } else line = longer;
    }
    lines.push(`${lines.length === 0 || indent === '' ? indent : `${indent}  `}${line}`);
    return lines.map((one) => `${pad}# ${one}`.trimEnd());
  });
}

function flatten(key: ConfigKey): ConfigKey[] {
  if (key.kind === 'value') return [key];
  return [...(key.kind === 'entries' ? [key] : []), ...key.keys.flatMap(flatten)];
}

function name(key: ConfigKey): string {
  return key.path.join('.').replaceAll('.[]', '[]');
}

function shownDefault(key: ConfigKey): string {
  if (key.default === undefined) return '';
  return ` (default \`${typeof key.default === 'string' ? key.default : JSON.stringify(key.default)}\`)`;
}

/** Text as markdown: no stray emphasis. */
function escaped(text: string): string {
  return text.replaceAll('*', '\\*').replaceAll('\n', ' ');
}
