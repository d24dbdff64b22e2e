import { arch } from 'node:os';
import type { Descriptor, Platform } from '../access/manifest-descriptors.ts';
import { DamselflyError } from '../errors.ts';

/** What of an index is wanted. */
export type PlatformChoice =
  | 'all'
  | { readonly os: string; readonly architecture: string; readonly level: Level };

/** How far a variant goes, so that lower ones do as well; its name where it is not of the form v<number>. */
type Level = number | string;

/** `os.features` of the Nydus image in an index that holds it beside the ordinary one for the same platform. */
const NYDUS_FEATURE = 'nydus.remoteimage.v1';

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  x86_64: 'amd64',
  'x86-64': 'amd64',
  ia32: '386',
  i386: '386',
  aarch64: 'arm64',
  ppc64: 'ppc64le',
};

/** What an image without a variant is for. */
const PLAIN_LEVELS: Readonly<Record<string, number>> = { amd64: 1, arm64: 8, arm: 7 };

/**
 * `os/architecture[/variant]` or `all`; Linux on this machine's architecture when undefined: containers are Linux's.
 * @throws DamselflyError reference-malformed.
 */
export function parsePlatform(text: string | undefined): PlatformChoice {
  if (text === undefined) return choiceOf('linux', arch(), undefined);
  if (text === 'all') return 'all';
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([\w-]+)(?:\/([\w.]+))?$/i.exec(text) ?? [];
  if (os !== undefined && architecture !== undefined) return choiceOf(os, architecture, variant);
  throw new DamselflyError(
    'reference-malformed',
    `"${text.slice(0, 64)}" is no platform: write os/architecture or os/architecture/variant such as linux/arm64, or all`,
  );
}

function choiceOf(os: string, architecture: string, variant: string | undefined): PlatformChoice {
  const lower = architecture.toLowerCase();
  const name = ARCHITECTURES[lower] ?? lower;
  return { os: os.toLowerCase(), architecture: name, level: levelOf(name, variant) };
}

function levelOf(architecture: string, variant: string | undefined): Level {
  if (variant === undefined) return PLAIN_LEVELS[architecture] ?? 0;
  const number = /^v?(\d+)$/.exec(variant)?.[1];
  return number === undefined ? variant : Number(number);
}

/**
 * The manifests of an index to take: for one platform the one that a container runtime would choose (the highest
 * variant that runs there), and behind it the Nydus one where there is one, since either may be mounted.
 */
export function fittingManifests(
  manifests: readonly Descriptor[],
  choice: PlatformChoice,
): readonly Descriptor[] {
  const images = imagesOf(manifests);
  if (choice === 'all') return images;
  const fitting = best(images, choice);
  // An index that does not tell platforms: the runtime would have to look into each.
  return fitting.length > 0 ? fitting : images.filter(({ platform }) => platform === undefined);
}

/** The same. @throws DamselflyError reference-malformed that names what there is, when nothing fits. */
export function chooseManifests(
  manifests: readonly Descriptor[],
  choice: PlatformChoice,
): readonly Descriptor[] {
  const chosen = fittingManifests(manifests, choice);
  if (chosen.length > 0 || choice === 'all') return chosen;
  const names = new Set(imagesOf(manifests).map(({ platform }) => describePlatform(platform)));
  throw new DamselflyError(
    'reference-malformed',
    `The image has nothing for ${choice.os}/${choice.architecture}; it has ${[...names].join(', ')}: choose one of them, or all, with --platform`,
  );
}

/** Attestations are for platform unknown/unknown: no runtime pulls them. */
function imagesOf(manifests: readonly Descriptor[]): Descriptor[] {
  return manifests.filter(({ platform }) => platform?.os !== 'unknown');
}

function best(images: readonly Descriptor[], choice: Exclude<PlatformChoice, 'all'>): Descriptor[] {
  const running = images.flatMap((image) => {
    const level = image.platform === undefined ? undefined : levelIn(image.platform, choice);
    return level === undefined ? [] : [{ image, level }];
  });
  const highest = Math.max(...running.map(({ level }) => level));
  const equal = running.filter(({ level }) => level === highest).map(({ image }) => image);
  const plain = equal.find((image) => !isNydus(image));
  const nydus = equal.find(isNydus);
  return [plain, nydus].filter((image) => image !== undefined);
}

/** How good an image is for the choice; undefined when it does not run there. */
function levelIn(platform: Platform, choice: Exclude<PlatformChoice, 'all'>): number | undefined {
  const own = choiceOf(platform.os, platform.architecture, platform.variant);
  if (own === 'all' || own.os !== choice.os || own.architecture !== choice.architecture) return undefined;
  if (typeof own.level === 'string' || typeof choice.level === 'string') {
    return own.level === choice.level ? 0 : undefined;
  }
  return own.level <= choice.level ? own.level : undefined;
}

function isNydus({ platform }: Descriptor): boolean {
  return platform?.features.includes(NYDUS_FEATURE) === true;
}

/** `os/architecture[/variant]`. */
export function describePlatform(platform: Platform | undefined): string {
  if (platform === undefined) return 'one without a platform';
  const { os, architecture, variant } = platform;
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
