import { createHash } from 'node:crypto';
import type { AccessGate } from './access/access-gate.ts';
import type { BlobOwners } from './access/blob-owners.ts';
import { manifestDescriptors } from './access/manifest-descriptors.ts';
import type { PrefetchPorts } from './admin/prefetch.ts';
import { checkedDigest, parseDigest } from './blob/digest.ts';
import type { BlobAddress } from './blob/source.ts';
import type { Upstream } from './blob/upstream.ts';
import { Urgency } from './blob/urgency.ts';
import type { Content } from './content/content.ts';
import { DamselflyError } from './errors.ts';
import type { Logger } from './observe/log.ts';
import type { Origin } from './origin/origin.ts';
import type { OriginDirectory } from './origin/origin-directory.ts';
import { hasSameBytes } from './proxy/possession.ts';

/** What a person may want on the node that no client has asked for: every kind of manifest. */
const MANIFEST_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];

/** Lets the prefetch walk read origins and fill the store: the seam between admin/ and the parts that it may not know. */
export function prefetchPorts(parts: {
  directory: OriginDirectory;
  origin: Origin;
  content: Content;
  gate: AccessGate;
  owners: BlobOwners;
  log: Logger;
}): PrefetchPorts {
  const { directory, origin, content, gate, owners, log } = parts;
  /** Nothing is brought in under a digest that another origin's bytes lie under, unless they are the same. */
  const own = async ({ digest }: BlobAddress, upstream: Upstream, signal: AbortSignal): Promise<void> => {
    const standing = owners.standing(upstream.origin, digest, content.isAnywhere(digest));
    if (standing === 'owner') return;
    if (standing === 'free') {
      content.forget(digest);
      owners.claim(upstream.origin, digest);
      return;
    }
    const info = content.describe(digest);
    const isSame =
      info !== undefined &&
      content.isFinished(digest) &&
      (await hasSameBytes(origin.source, content, { digest, size: info.size }, upstream, signal));
    if (!isSame) {
      throw new DamselflyError(
        'blob-contested',
        `Another origin's bytes lie under ${digest} and are not proven: read it whole from there first, or wait until they are evicted`,
        { facts: { digest, origin: upstream.origin } },
      );
    }
    owners.admit(upstream.origin, digest);
  };
  return {
    resolve: (registry) => directory.resolve(registry),
    credentialFor: (id, repository, options) => origin.credentials.credentialFor(id, repository, options),
    refused: (id, repository, credential) => origin.credentials.refused(id, repository, credential),
    log,
    manifest: async (upstream, reference, signal) => {
      const answer = await origin.client.getManifest(upstream, reference, {
        signal,
        urgency: new Urgency('prefetch'),
        accept: MANIFEST_TYPES,
      });
      const named = parseDigest(reference);
      const digest = checkedDigest(
        answer.body,
        named ?? parseDigest(answer.header('docker-content-digest') ?? ''),
      );
      if (digest === null)
        throw new DamselflyError(
          'digest-mismatch',
          `The manifest that arrived for ${reference} does not match its digest`,
        );
      gate.learnMembers(upstream.origin, upstream.repository, [
        digest,
        ...manifestDescriptors(answer.body).map((found) => found.digest),
      ]);
      if (named === null) gate.learnTag(upstream.origin, upstream.repository, reference, digest);
      owners.admit(upstream.origin, digest);
      await content.keep(
        digest,
        answer.header('content-type'),
        answer.body,
        createHash('sha256').update(answer.body).digest(),
      );
      return answer.body;
    },
    fill: async (address, upstream, signal, onBytes) => {
      const context = { upstream, urgency: 'prefetch' as const, signal };
      await own(address, upstream, signal);
      const { info, close } = await content.learn(address, { start: 0, end: undefined }, context);
      const { size } = info;
      try {
        if (size > 0)
          await content.fill({ digest: address.digest, size }, { start: 0, end: size }, context, onBytes);
      } finally {
        close();
      }
      return size;
    },
  };
}
