import type { OriginId } from '../../../src/blob/upstream.ts';
import type { OriginDirectory } from '../../../src/origin/origin-directory.ts';
import type { MirrorRequest } from '../../../src/proxy/ingress.ts';
import { chooseOrigin as right } from '../../../src/proxy/origin-choice.ts';

export * from '../../../src/proxy/origin-choice.ts';

export function chooseOrigin(
  request: MirrorRequest,
  directory: OriginDirectory,
  listenerOrigin: OriginId | undefined,
): OriginId {
  return directory.defaultOrigin ?? right(request, directory, listenerOrigin);
}
