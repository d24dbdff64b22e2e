import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LoadOptions, loadConfig } from '../../config/load.ts';
import type { Config } from '../../config/schema.ts';
import { DamselflyError } from '../../src/errors.ts';

/** Loads YAML text through a real file; nothing of this machine's own configuration or environment is read. */
export function load(
  yaml: string,
  options: Omit<LoadOptions, 'file' | 'defaultFile'> = {},
): { config: Config; warnings: string[]; file: string } {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-config-'));
  try {
    const file = join(folder, 'damselfly.yaml');
    writeFileSync(file, yaml);
    return { ...loadConfig({ ...options, file }), file };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The lines that refuse a configuration, without their indent; fails when it is accepted. */
export function problems(yaml: string, options: Omit<LoadOptions, 'file' | 'defaultFile'> = {}): string[] {
  try {
    load(yaml, options);
  } catch (error) {
    if (!(error instanceof DamselflyError) || error.code !== 'config-invalid') throw error;
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  throw new Error('the configuration was accepted');
}
