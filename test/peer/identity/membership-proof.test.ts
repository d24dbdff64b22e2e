import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { Identity } from '../../../peer/identity/identity.ts';
import { membershipProof, type ProofScene, provenKey } from '../../../peer/identity/membership-proof.ts';
import { NetworkKey } from '../../../peer/identity/network-key.ts';

const [a, b] = [Identity.generate().id, Identity.generate().id];
const scene: ProofScene = { exporter: randomBytes(32), role: 'dialler', dialler: a, listener: b };
const [used, other] = [NetworkKey.generate(), NetworkKey.generate()];

describe('a membership proof', () => {
  it('shows which of the accepted keys the other side holds', () => {
    const proof = membershipProof(used, scene);
    assert.equal(proof.length, 32);
    assert.equal(provenKey([other, used], scene, [proof]), used);
    assert.equal(provenKey([used], scene, [membershipProof(other, scene), proof]), used);
    assert.equal(provenKey([other], scene, [proof]), undefined);
    assert.equal(provenKey([used], scene, []), undefined);
    assert.equal(provenKey([used], scene, [proof.subarray(1)]), undefined);
  });

  it('is good for one session, one direction and two nodes only', () => {
    const proof = membershipProof(used, scene);
    const elsewhere: readonly Partial<ProofScene>[] = [
      { exporter: randomBytes(32) },
      { role: 'listener' },
      { dialler: b, listener: a },
      { listener: Identity.generate().id },
      { dialler: Identity.generate().id },
    ];
    for (const other of elsewhere)
      assert.equal(provenKey([used], { ...scene, ...other }, [proof]), undefined, JSON.stringify(other));
  });
});
