import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { OciImage } from '../support/oci.ts';
import { lacking, program } from './support/capabilities.ts';
import { tryCommand } from './support/command.ts';
import { Damselfly } from './support/damselfly.ts';
import { makeImage } from './support/images.ts';
import { pushImage } from './support/push.ts';
import { startRegistry } from './support/registry.ts';
import { Scope } from './support/scope.ts';

const REPOSITORY = 'lab/img';

// The program of the distribution specification, in the mode that it has for mirrors: nothing is written.
for (const registryProgram of ['docker-registry', 'registry-3'] as const) {
  describe(`conformance in front of ${registryProgram}`, {
    skip: lacking('conformance', registryProgram),
  }, () => {
    const scope = new Scope();
    after(() => scope.close());

    it('every check that the registry passes is passed through Damselfly too, cold and warm', async () => {
      const image = await makeImage(scope, { bytes: 2 << 20, layers: 2 });
      const registry = await startRegistry(scope, 'anonymous', registryProgram);
      await pushImage({ registry, repository: REPOSITORY }, image, 'v1');
      const node = await Damselfly.start(scope, { origins: [registry.host], defaultOrigin: registry.host });
      const direct = await conformance(scope, registry.host, image);
      // 2.8 answers 500 to a manifest whose digest is none; 3.1 passes all.
      const failures = direct.filter((line) => /: (FAIL|Error)$/.test(line));
      assert.ok(
        failures.every((line) => line.includes('/invalid-digest-format') || !line.includes('/')),
        `${failures}`,
      );
      const passes = direct.filter((line) => line.endsWith(': Pass'));
      assert.ok(passes.length >= 20, `only ${passes.length} lines of Pass at the registry`);
      for (const round of ['cold', 'warm']) {
        const through = await conformance(scope, node.host, image);
        const lost = passes.filter((line) => !through.includes(line));
        assert.deepEqual(lost, [], round);
        assert.equal(through.length, direct.length, round);
      }
    });
  });
}

/**
 * Its exit code says nothing: this version panics after it has printed its results, while it writes a report. The
 * printed lines are read: names, and Pass, FAIL, Error or Disabled. Names that come again are numbered.
 */
async function conformance(scope: Scope, host: string, image: OciImage): Promise<string[]> {
  const folder = await scope.folder('conformance');
  const [{ config, layers, descriptor }] = image.manifests;
  const off = Object.fromEntries(
    ['PUSH', 'BLOBS_DELETE', 'MANIFESTS_DELETE', 'TAGS_DELETE', 'REFERRER'].map((api) => [
      `OCI_API_${api}`,
      'false',
    ]),
  );
  const { stdout } = await tryCommand(program('conformance'), [], {
    cwd: folder,
    timeoutMs: 60_000,
    env: {
      ...off,
      OCI_REGISTRY: host,
      OCI_TLS: 'disabled',
      OCI_REPO1: REPOSITORY,
      OCI_RESULTS_DIR: folder,
      OCI_RO_DATA_TAGS: 'v1',
      OCI_RO_DATA_MANIFESTS: descriptor.digest,
      OCI_RO_DATA_BLOBS: [config, ...layers].map(({ digest }) => digest).join(' '),
    },
  });
  const counts = new Map<string, number>();
  const lines: string[] = [];
  for (const [, name = '', result = ''] of stdout.matchAll(/^\s*(OCI Conformance Test\S*.*): (\w+)$/gm)) {
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    lines.push(`${name}${count === 1 ? '' : ` ${count}`}: ${result}`);
  }
  return lines;
}
