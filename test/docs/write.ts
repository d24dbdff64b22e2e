import { writeFileSync } from 'node:fs';
import { errorsPage, metricsPage } from './render.ts';

writeFileSync(new URL('../../docs/errors.md', import.meta.url), errorsPage());
writeFileSync(new URL('../../docs/metrics.md', import.meta.url), await metricsPage());
