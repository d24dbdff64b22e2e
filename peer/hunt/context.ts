import type { Member, MemberView } from '../member.ts';
import type { SegmentName } from '../messages.ts';
import type { PieceMask } from '../piece-mask.ts';
import type { AskId, FetchId, HuntAction, ReadId } from './actions.ts';
import type { FetchSlots } from './fetch-slots.ts';
import type { OriginBudget } from './origin-reads.ts';
import type { HuntParameters } from './parameters.ts';
import type { PeerScores } from './peer-scores.ts';
import type { Reporter } from './reporter.ts';
import type { SegmentHunt } from './segment-hunt.ts';

/** What the hunts of all segments share. */
export interface HuntContext {
  readonly parameters: HuntParameters;
  readonly view: MemberView;
  readonly scores: PeerScores;
  readonly budget: OriginBudget;
  readonly slots: FetchSlots;
  readonly reporter: Reporter;
  clock(): number;
  held(name: SegmentName): PieceMask;
  load(): number;
  /** Leases that the segment may take now: what was wanted before it comes first. */
  leasesLeft(segment: SegmentHunt): number;
  /** Its ranks that may be asked, in order: the first two without those that were silent lately. */
  planners(name: SegmentName): readonly Member[];
  push(action: HuntAction): void;
  /** A name that nothing else has; what is heard of it goes to `segment` until it is unbound. */
  bind<I extends AskId | FetchId | ReadId>(segment: SegmentHunt): I;
  unbind(id: AskId | FetchId | ReadId): void;
}
