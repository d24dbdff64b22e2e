import type { TestContext } from 'node:test';
import {
  OCI_MANIFEST,
  type OriginOptions,
  seededBytes,
  type TestBlob,
  type TestManifest,
} from '../../../support/origin.ts';
import { type Setup, setup } from '../../support/setup.ts';
import type { Login } from './challenge.ts';

const MIB = 1 << 20;
export const LOGIN: Login = { user: 'alice', password: 'in-wonderland' };
export const REPOSITORY = 'lab/image';

export interface Layer extends TestBlob {
  /** Its bytes are a seeded stream, so that any span can be checked. */
  bytes(start: number, end: number): Buffer;
}

export interface ClientLab extends Setup {
  readonly manifest: TestManifest;
  readonly config: Layer;
  readonly layers: readonly [Layer, Layer];
  /** Needed where the origin asks for one. */
  readonly login: Login | undefined;
  /** Bytes of config and layers. */
  readonly imageBytes: number;
}

export interface LabOptions {
  /** Default 'anonymous'. With a login the repository is alice's alone. */
  readonly auth?: NonNullable<OriginOptions['auth']>;
  /** Default {@link REPOSITORY}. */
  readonly repository?: string;
  readonly origin?: OriginOptions;
  /** More configuration keys, as for `--set`. */
  readonly set?: readonly string[];
}

/** A node in front of an origin with an image of two layers, tagged v1. */
export async function clientLab(t: TestContext, options: LabOptions = {}): Promise<ClientLab> {
  const { auth = 'anonymous', repository: name = REPOSITORY } = options;
  const login = auth === 'anonymous' ? undefined : LOGIN;
  const made = await setup(t, {
    origin: { auth, users: { [LOGIN.user]: LOGIN.password }, ...options.origin },
    ...(options.set === undefined ? {} : { set: options.set }),
  });
  const repository = made.origin.repository(name, login === undefined ? {} : { readers: [LOGIN.user] });
  const blob = (seed: string, size: number): Layer => ({
    ...repository.addBlob({ size, seed }),
    bytes: (start, end) => seededBytes(seed, { start, end }),
  });
  const config = blob('config', 700);
  const layers = [blob('layer one', 5 * MIB + 77), blob('layer two', 9 * MIB + 4321)] as const;
  const describe = ({ digest, size }: TestBlob, mediaType: string) => ({ mediaType, digest, size });
  const manifest = repository.addManifest(
    {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((layer) => describe(layer, 'application/vnd.oci.image.layer.v1.tar+gzip')),
    },
    { tag: 'v1' },
  );
  const imageBytes = [config, ...layers].reduce((sum, { size }) => sum + size, 0);
  return { ...made, manifest, config, layers, login, imageBytes };
}
