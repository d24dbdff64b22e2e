import type { ReadOutcome } from '../../support/cluster/read-job.ts';
import type { Traffic } from '../../support/netns/traffic.ts';

/** What was seen of one node between the start and the end of a crowd. */
export interface NodeFacts {
  readonly name: string;
  /** kill -9 in mid-transfer, on purpose. */
  readonly killed: boolean;
  readonly outcome: ReadOutcome;
  /** Of its link; undefined on loopback. */
  readonly wire: Traffic | undefined;
  /** What its process counted; undefined when it was killed. */
  readonly process: ProcessFacts | undefined;
}

export interface ProcessFacts {
  /** Blob bytes from origins and from peers, used or not. */
  readonly originBytes: number;
  readonly peerBytes: number;
  readonly sentToPeersBytes: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
  /** What it counted of the swarm, by series: `damselfly_leases_ended_total reason=done`. */
  readonly counted: ReadonlyMap<string, number>;
}

export interface CrowdFacts {
  readonly nodes: readonly NodeFacts[];
  /** When all were told to begin, in milliseconds of the epoch. */
  readonly startAtMs: number;
  /** Blob bytes that left the origin's process. */
  readonly originBytes: number;
  /** Over the origin's link; undefined on loopback. */
  readonly originWireBytes: number | undefined;
  /** Into each zone over its trunk. */
  readonly zoneInBytes: readonly number[];
  /** Of the processes that read and check, and of the origin. */
  readonly clientCpuSeconds: number;
  readonly originCpuSeconds: number;
  /** Of all cores together, by whomever, and how many seconds they had. */
  readonly machineBusySeconds: number;
  readonly machineSeconds: number;
}
