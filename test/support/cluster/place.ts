import { randomInt } from 'node:crypto';
import type { Scope } from '../../e2e/support/scope.ts';
import { NetLab } from '../netns/net-lab.ts';
import type { LinkShape } from '../netns/shape.ts';

/** Where a process of a cluster runs. */
export interface Place {
  readonly address: string;
  /** In front of a command line, runs it there. */
  readonly enter: readonly string[];
}

export type Form = 'netns' | 'loopback';

export interface Places {
  readonly origin: Place;
  readonly nodes: readonly Place[];
  /** Only of the form `netns`. */
  readonly lab: NetLab | undefined;
}

export const ORIGIN_HOST = 'origin';

/** Addresses for an origin and nodes, gone with the scope. */
export async function makePlaces(
  scope: Scope,
  wanted: {
    readonly form: Form;
    readonly nodes: readonly { readonly name: string; readonly zone: string | undefined }[];
    readonly nodeLink: LinkShape | undefined;
    readonly originLink: LinkShape | undefined;
  },
): Promise<Places> {
  const { form, nodeLink, nodes, originLink } = wanted;
  if (form === 'loopback') return loopbackPlaces(nodes.length);
  const lab = await NetLab.make([
    { name: ORIGIN_HOST, ...(originLink && { up: originLink, down: originLink }) },
    ...nodes.map(({ name, zone }) => ({
      name,
      ...(nodeLink && { up: nodeLink, down: nodeLink }),
      ...(zone === undefined ? {} : { zone }),
    })),
  ]);
  scope.defer(() => lab[Symbol.asyncDispose]());
  return { origin: lab.host(ORIGIN_HOST), nodes: nodes.map(({ name }) => lab.host(name)), lab };
}

/**
 * All of 127/8 is this machine on Linux. An address of its own for each node leaves every node its usual ports, which
 * nobody else has at that address, also after a restart.
 */
function loopbackPlaces(count: number): Places {
  const network = `127.${randomInt(16, 240)}.${randomInt(0, 256)}`;
  const place = (last: number): Place => ({ address: `${network}.${last}`, enter: [] });
  return {
    origin: place(250),
    nodes: Array.from({ length: count }, (_, index) => place(index + 1)),
    lab: undefined,
  };
}
