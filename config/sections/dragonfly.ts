import type { z } from 'zod';
import { optional, section } from '../field.ts';
import { path } from '../readers.ts';
import { plainUrl } from '../web.ts';

const dragonflyShape = {
  upstream: optional({
    description: 'The proxy address of a dfdaemon that is asked before the origin.',
    expected: 'an http:// URL without path, or host:port, such as 127.0.0.1:4001',
    example: 'http://127.0.0.1:65001',
    read: plainUrl,
  }),
  outputDir: optional({
    description: 'X-Dragonfly-Output-Path is honoured under this directory, and refused when it is unset.',
    expected: 'the path of a directory',
    example: '/var/lib/damselfly-output',
    read: path,
  }),
};

export const dragonflySection = section(dragonflyShape, 'Living beside Dragonfly.');

export type DragonflyConfig = Readonly<z.output<typeof dragonflySection>>;
