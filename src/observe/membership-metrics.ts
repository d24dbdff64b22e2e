import type { Counter } from 'prom-client';
import type { Series } from './series.ts';
import {
  DIRECTIONS,
  type Direction,
  MEMBERSHIP_CHANGES,
  MEMBERSHIP_MESSAGES,
  type MembershipChange,
  type MembershipMessage,
} from './swarm-labels.ts';

/** Who comes, goes and is silent, and what it costs to know. */
export class MembershipMetrics {
  readonly #suspicions: Counter;
  readonly #messages: Counter<'direction' | 'kind'>;
  readonly #bytes: Counter<'direction'>;
  readonly #changes: Counter<'change'>;

  constructor(series: Series) {
    this.#suspicions = series.counter(
      'damselfly_peer_suspicions_total',
      'Times that this node asked others first, since a member did not answer in time.',
    );
    this.#messages = series.counter('damselfly_membership_messages_total', 'Messages on who is a member.', {
      direction: DIRECTIONS,
      kind: MEMBERSHIP_MESSAGES,
    });
    this.#bytes = series.counter(
      'damselfly_membership_bytes_total',
      'Bytes of messages on who is a member.',
      { direction: DIRECTIONS },
    );
    this.#changes = series.counter(
      'damselfly_membership_changes_total',
      'Members that joined (again, with a new epoch) and left, as this node sees it.',
      { change: MEMBERSHIP_CHANGES },
    );
  }

  suspected(): void {
    this.#suspicions.inc();
  }

  message(direction: Direction, kind: MembershipMessage, bytes: number): void {
    this.#messages.inc({ direction, kind });
    this.#bytes.inc({ direction }, bytes);
  }

  changed(change: MembershipChange): void {
    this.#changes.inc({ change });
  }
}
