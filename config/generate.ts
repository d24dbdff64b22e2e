import { writeFileSync } from 'node:fs';
import { annotatedYaml, configurationReference } from './annotated.ts';

/** What `npm run config` writes; a test holds the files to it. */
export const GENERATED: readonly { readonly file: URL; readonly text: () => string }[] = [
  { file: new URL('./damselfly.yaml', import.meta.url), text: annotatedYaml },
  { file: new URL('../docs/configuration.md', import.meta.url), text: configurationReference },
];

if (import.meta.main) {
  for (const { file, text } of GENERATED) writeFileSync(file, text());
}
