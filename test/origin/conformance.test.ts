import { pieceSourceConformance } from '../conformance/piece-source.ts';
import { type OriginOptions, startOrigin } from '../support/origin.ts';
import { REPOSITORY, rig } from './support.ts';

const traits = { canMiss: false, unknownIsNull: false };

function against(options: OriginOptions, tamper: 'none' | 'no ranges' | 'chunked' = 'none') {
  return async ({ blob }: { blob: { bytes: Buffer; mediaType: string } }) => {
    const origin = await startOrigin(options);
    origin.repository(REPOSITORY).addBlob(blob.bytes);
    const headers = { 'Content-Type': blob.mediaType };
    origin.fault({
      action: {
        headers,
        ...(tamper === 'no ranges' ? { ignoreRange: true } : {}),
        ...(tamper === 'chunked' ? { framing: 'chunked' } : {}),
      },
    });
    const parts = rig(origin);
    return {
      source: parts.source,
      upstream: parts.upstream,
      close: async () => {
        await parts.close();
        await origin.close();
      },
    };
  };
}

pieceSourceConformance('origin', traits, against({}));
pieceSourceConformance('origin behind redirects', traits, against({ redirect: { status: 307 } }));
pieceSourceConformance('origin that ignores ranges', traits, against({}, 'no ranges'));
pieceSourceConformance('origin that sends chunked bodies', traits, against({}, 'chunked'));
