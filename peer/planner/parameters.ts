/** What may be tuned in planning; defaults are measured by test/bench/simulate. */
export interface PlannerParameters {
  /** A lease ends this long after the last progress; one that ended so is given out for twice as long, up to `maxLeaseMs`. */
  readonly leaseMs: number;
  readonly maxLeaseMs: number;
  /** A second origin read is granted only when the first has shown no progress for this long. */
  readonly hedgeAfterMs: number;
  /** Pieces of a segment that the first reader reads at once, until it is clear that it is alone and may read all it likes. */
  readonly firstLeases: number;
  /** Who reads for so long without a second one is alone. */
  readonly aloneMs: number;
  /** A reader that has had its share of a segment's leases gets more only when nobody else came for so long. */
  readonly deferMs: number;
  /** Children that one peer gets per piece before others are preferred. */
  readonly children: number;
  /** Sources looked at when there are more. */
  readonly samples: number;
  /** Named per assignment: the first, and alternates. */
  readonly named: number;
  /** How long the next ranks may think about an inquiry. */
  readonly inquiryMs: number;
  /** A planner younger than this asks all ranks. */
  readonly freshMs: number;
  /** When every planner is fresh, holders get this long to announce what they have before a lease is granted. */
  readonly announcementMs: number;
  /** A reader that was told where to fetch and reported nothing for so long is not counted on any more. */
  readonly receivingMs: number;
  /** A reader counts as one of the crowd for this long after its last ask. */
  readonly crowdMs: number;
  /** A peer that was silent to somebody is preferred least for this long. */
  readonly doubtMs: number;
  readonly maxSegments: number;
  /** Holders and receivers of pieces over all segments. */
  readonly maxSources: number;
}

export const PLANNER_DEFAULTS: PlannerParameters = {
  leaseMs: 1_500,
  maxLeaseMs: 6_000,
  hedgeAfterMs: 700,
  firstLeases: 2,
  aloneMs: 100,
  deferMs: 150,
  children: 4,
  samples: 24,
  named: 3,
  inquiryMs: 50,
  freshMs: 3_000,
  announcementMs: 1_200,
  receivingMs: 15_000,
  crowdMs: 2_000,
  doubtMs: 5_000,
  maxSegments: 8_192,
  maxSources: 300_000,
};
