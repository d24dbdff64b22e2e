import type { z } from 'zod';
import type { LogLevel } from '../../src/observe/log.ts';
import { LISTEN_EXPECTED, tcpAddress } from '../address.ts';
import { defaulted, optional, section } from '../field.ts';
import { manyOf, oneOf, path } from '../readers.ts';

// Spelled out and not imported, so that commands that only read the configuration do not load the logger.
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const satisfies LogLevel[];

const adminShape = {
  listen: defaulted({
    description: 'Health, status API, preheat API and web page.',
    default: '127.0.0.1:4003',
    expected: LISTEN_EXPECTED,
    read: manyOf(tcpAddress, { min: 1 }),
  }),
  tokenFile: optional({
    description: 'A file with the token that the preheat API asks for.',
    expected: 'the path of a file that holds a token',
    example: '/etc/damselfly/admin.token',
    read: path,
  }),
};

const metricsShape = {
  listen: defaulted({
    description: 'GET /metrics for Prometheus.',
    default: '127.0.0.1:4002',
    expected: LISTEN_EXPECTED,
    read: manyOf(tcpAddress, { min: 1 }),
  }),
};

const logShape = {
  level: defaulted({
    description: 'JSON lines on stderr: trace, debug, info, warn, error or silent.',
    default: 'info',
    expected: LOG_LEVELS.join(', '),
    read: oneOf(LOG_LEVELS),
  }),
};

export const adminSection = section(adminShape, 'Health, status and the page: for people and probes.');
export const metricsSection = section(metricsShape, 'Prometheus metrics.');
export const logSection = section(logShape, 'Logging.');

export type AdminConfig = Readonly<z.output<typeof adminSection>>;
export type MetricsConfig = Readonly<z.output<typeof metricsSection>>;
export type LogConfig = Readonly<z.output<typeof logSection>>;
