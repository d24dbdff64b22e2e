import { Identity } from '../../../peer/identity/identity.ts';
import { NetworkKeys } from '../../../peer/identity/network-keys.ts';
import type { Member, PeerId } from '../../../peer/member.ts';
import { Membership } from '../../../peer/membership/membership.ts';
import type { Fetch, Report } from '../../../peer/messages.ts';
import { ALL_PIECES, maskOf, NO_PIECES } from '../../../peer/piece-mask.ts';
import { realmOf } from '../../../peer/realm.ts';
import type { Digest } from '../../../src/blob/digest.ts';
import { pieceCount, pieceSpan, SEGMENT_PIECES, segmentCount } from '../../../src/blob/piece.ts';
import type { OriginId } from '../../../src/blob/upstream.ts';
import { silentLogger } from '../../../src/observe/log.ts';
import { NO_METRICS } from '../../peer/membership/no-metrics.ts';
import { eventually } from '../eventually.ts';
import { seededBytes } from '../origin/content.ts';
import { type Behaviour, ProgrammablePeer } from './programmable-peer.ts';

const JOIN_MS = 20_000;

export interface ClaimedBlob {
  readonly digest: string;
  readonly size: number;
  readonly seed: string;
}

/** A programmable peer that real nodes know as a live member, and send for pieces. */
export class ScriptedMember implements AsyncDisposable {
  readonly peer: ProgrammablePeer;
  readonly #membership: Membership;
  readonly #origin: OriginId;

  private constructor(peer: ProgrammablePeer, membership: Membership, origin: OriginId) {
    this.peer = peer;
    this.#membership = membership;
    this.#origin = origin;
  }

  /** Resolves once it knows so many others. @param options.contacts `host:port` of members' libp2p. */
  static async join(options: {
    readonly networkKeyFile: string;
    readonly contacts: readonly string[];
    /** URL of the origin whose blobs it claims to have. */
    readonly origin: string;
    readonly behaviour: Behaviour;
    readonly blob: ClaimedBlob;
    /** Default: any. */
    readonly identity?: Identity;
  }): Promise<ScriptedMember> {
    const { blob, identity = Identity.generate() } = options;
    const keys = await NetworkKeys.load(options.networkKeyFile);
    const peer = await ProgrammablePeer.start({
      ...{ keys, identity },
      content: ({ piece }: Fetch) => Buffer.from(seededBytes(blob.seed, pieceSpan(piece, blob.size))),
    });
    peer.behaviour = options.behaviour;
    let membership: Membership | undefined;
    try {
      membership = await Membership.start({
        identity: peer.identity,
        keys,
        config: {
          listen: ['/ip4/127.0.0.1/tcp/0'],
          announce: [],
          zone: undefined,
          discovery: { static: [...options.contacts], dns: [], mdns: false, bootstrap: [] },
        },
        data: peer.member.data,
        resolve: async () => [],
        folder: undefined,
        log: silentLogger,
        metrics: NO_METRICS,
      });
      const joined = membership;
      await eventually(() => joined.live().length > options.contacts.length, {
        ...{ timeoutMs: JOIN_MS, everyMs: 50, what: 'the scripted member knows the others' },
      });
      return new ScriptedMember(peer, membership, options.origin as OriginId);
    } catch (error) {
      await membership?.stop();
      await peer.close();
      throw error;
    }
  }

  get id(): PeerId {
    return this.peer.id;
  }

  get others(): readonly Member[] {
    return this.#membership.live().filter(({ id }) => id !== this.id);
  }

  /** Tells every member that it holds all of the blob. */
  async claim({ digest, size }: ClaimedBlob): Promise<void> {
    const reports = Array.from({ length: segmentCount(size) }, (_, segment): Report => {
      const left = pieceCount(size) - segment * SEGMENT_PIECES;
      const slots = Array.from({ length: Math.min(left, SEGMENT_PIECES) }, (_, slot) => slot);
      return {
        realm: realmOf(this.#origin),
        digest: digest as Digest,
        ...{ segment, size, load: 0, lost: NO_PIECES, marks: [], leases: [], accused: [] },
        held: left >= SEGMENT_PIECES ? ALL_PIECES : maskOf(slots),
      };
    });
    const signal = AbortSignal.timeout(JOIN_MS);
    await Promise.all(this.others.map((member) => this.peer.exchange.report(member, reports, signal)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer.hangUp();
    await this.#membership.stop();
    await this.peer.close();
  }
}
