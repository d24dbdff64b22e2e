import { readFile } from 'node:fs/promises';
import { DamselflyError } from '../../src/errors.ts';
import { KEY_ENCODING, KEY_HEADER, NetworkKey } from './network-key.ts';

/** A rotation needs two; each is tried on every handshake. */
export const MAX_NETWORK_KEYS = 8;
const MAX_FILE_BYTES = 64 * 1024;
const LINES_OF_BLOCK = 3;

/**
 * One or several blocks as `damselfly peers keygen` prints them; empty lines do not count.
 * @returns the keys in their order, each once.
 * @throws DamselflyError `network-key-invalid`; no message repeats anything of the file.
 */
export function parseKeyFile(path: string, text: string): NetworkKey[] {
  if (text.length > MAX_FILE_BYTES) throw invalid(path, 'is too large for a network key file');
  const lines = text
    .split(/\r\n|\r|\n/)
    .map((line, index) => ({ text: line.trim(), number: index + 1 }))
    .filter((line) => line.text !== '');
  if (lines.length === 0) throw invalid(path, 'is empty');
  const keys: NetworkKey[] = [];
  for (let at = 0; at < lines.length; at += LINES_OF_BLOCK) {
    const [header, encoding, secret] = lines.slice(at, at + LINES_OF_BLOCK);
    if (header?.text !== KEY_HEADER) throw invalid(path, `line ${header?.number} should be ${KEY_HEADER}`);
    if (encoding?.text !== KEY_ENCODING)
      throw invalid(path, `${lineOrEnd(encoding)} should be ${KEY_ENCODING}, the one encoding that is read`);
    if (secret === undefined || !/^[0-9a-fA-F]{64}$/.test(secret.text))
      throw invalid(path, `${lineOrEnd(secret)} should be a key of 64 hexadecimal digits`);
    const key = new NetworkKey(Buffer.from(secret.text, 'hex'));
    if (!keys.some((known) => known.equals(key))) keys.push(key);
  }
  if (keys.length > MAX_NETWORK_KEYS)
    throw invalid(
      path,
      `holds ${keys.length} keys, more than ${MAX_NETWORK_KEYS}: remove those no longer used`,
    );
  return keys;
}

/** @throws DamselflyError `network-key-invalid` */
export async function readKeyFile(path: string): Promise<NetworkKey[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw invalid(path, `cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  return parseKeyFile(path, text);
}

function lineOrEnd(line: { readonly number: number } | undefined): string {
  return line === undefined ? 'the line behind the last one' : `line ${line.number}`;
}

function invalid(path: string, what: string, cause?: unknown): DamselflyError {
  return new DamselflyError(
    'network-key-invalid',
    `the network key file ${path} ${what}; \`damselfly peers keygen\` prints the contents of a new one, and every node of a network needs the same`,
    { facts: { path }, cause },
  );
}
