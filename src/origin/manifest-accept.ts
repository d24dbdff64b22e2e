/**
 * Every kind of manifest. Who asks for one by digest takes it as it is, and registries (distribution 2.8) say that it is not
 * there to whoever does not name its type.
 */
export const MANIFEST_ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  '*/*',
].join(', ');
