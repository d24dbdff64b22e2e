import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Names } from '../../../../peer/membership/discovery/names.ts';
import type { ResolveName } from '../../../../peer/membership/discovery/source.ts';
import type { Logger } from '../../../../src/observe/log.ts';
import { eventually } from '../../../support/eventually.ts';
import { recordingLog } from '../recording-log.ts';

function names(endpoints: string[], resolve: ResolveName, log: Logger = recordingLog().log): Names {
  return new Names({ name: 'dns', endpoints, resolve, log, everyMs: 20 });
}

describe('Names', () => {
  it('gives literals as they are and all records of names, of both families, with the port', async () => {
    const source = names(
      [
        'members.svc',
        'other.svc:5006',
        '10.0.0.9',
        '[fd00::9]:7',
        '/dns6/members.svc/tcp/8',
        '/ip4/10.0.0.8/tcp/9/p2p/12D3Koo',
      ],
      async (host) => (host === 'members.svc' ? ['10.0.0.1', 'fd00::1'] : ['10.0.0.2']),
    );
    const found: (readonly string[])[] = [];
    source.start((addresses) => found.push(addresses));
    await eventually(() => found.length > 0);
    source.stop();
    assert.deepEqual(found[0], [
      '/ip4/10.0.0.1/tcp/4006',
      '/ip6/fd00::1/tcp/4006',
      '/ip4/10.0.0.2/tcp/5006',
      '/ip4/10.0.0.9/tcp/4006',
      '/ip6/fd00::9/tcp/7',
      '/ip6/fd00::1/tcp/8',
      '/ip4/10.0.0.8/tcp/9/p2p/12D3Koo',
    ]);
  });

  it('looks again and again, and follows what the name says', async () => {
    let records = ['10.0.0.1'];
    const source = names(['members.svc'], async () => records);
    let found: readonly string[] = [];
    source.start((addresses) => {
      found = addresses;
    });
    await eventually(() => found.length === 1);
    records = ['10.0.0.2', '10.0.0.3'];
    await eventually(() => found.length === 2);
    source.stop();
  });

  it('says once that a name is unknown and once that it is back, and keeps what it knew in between', async () => {
    const { log, lines } = recordingLog();
    let answer: () => Promise<readonly string[]> = async () => [];
    let questions = 0;
    const source = names(
      ['members.svc'],
      () => {
        questions += 1;
        return answer();
      },
      log,
    );
    let found: readonly string[] | undefined;
    source.start((addresses) => {
      found = addresses;
    });
    await eventually(() => questions > 3);
    assert.deepEqual(found, []);
    answer = async () => ['10.0.0.1'];
    await eventually(() => found?.length === 1);
    answer = () => Promise.reject(new Error('SERVFAIL'));
    const before = questions;
    await eventually(() => questions > before + 3);
    assert.deepEqual(found, ['/ip4/10.0.0.1/tcp/4006']);
    source.stop();
    assert.deepEqual(
      lines.map((line) => [line.level, line.name]),
      [
        ['warn', 'members.svc'],
        ['info', 'members.svc'],
        ['warn', 'members.svc'],
      ],
    );
  });
});
