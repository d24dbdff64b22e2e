import type { HostFiles } from './host-files.ts';
import type { NodeView } from './node-view.ts';

/** What the command line calls a client. */
export type TargetName =
  | 'containerd'
  | 'nydus-snapshotter'
  | 'nydusd'
  | 'stargz'
  | 'soci'
  | 'podman'
  | 'cri-o'
  | 'docker'
  | 'buildkit'
  | 'overlaybd';

/**
 * One image client: how its configuration sends it to a node, and whether the one on a host does. The list of all of
 * them is `TARGETS` in targets.ts. Both functions are pure given the files; nothing here writes.
 */
export interface ClientTarget {
  readonly name: TargetName;
  /** As its project writes it, for messages. */
  readonly title: string;
  /** The file that tells that the client is configured on a host, as the client sees it (`/etc/…`); told in messages. */
  readonly configFile: string;
  /** The program whose `--version` tells which form is right; undefined: every version takes the same. */
  readonly versionProgram: string | undefined;
  /** Named by `--registry`: `any`, or docker.io alone. */
  readonly registries: 'any' | 'docker.io';
  /**
   * The files as they should be.
   * @throws UnsupportedRequest when the client cannot do what is asked; DamselflyError `client-config-unusable` when a
   * file of it cannot be read, parsed or edited without changing what else is in it.
   */
  plan(request: PlanRequest): Plan;
  /** One finding or more about what is on the host; none at all when the client has no configuration there. */
  judge(files: HostFiles, context: JudgeContext): readonly Finding[];
}

export interface PlanRequest {
  readonly node: NodeView;
  readonly files: HostFiles;
  /** Hosts as the images' names have them: `docker.io`, `registry.example.com:5000`. Empty: what suits the client. */
  readonly registries: readonly string[];
  /** `2.4.4`; undefined: not known, which means the newest. */
  readonly clientVersion: string | undefined;
}

export interface Plan {
  /** Whole contents, in the order in which they are to be written. A file that already is as it should be is among them. */
  readonly files: readonly PlannedFile[];
  /** What the node's own configuration has to say besides, as YAML; undefined: nothing. */
  readonly damselfly: string | undefined;
  /** Good to know: what else to do, such as a restart. */
  readonly notes: readonly string[];
  /** What will not work as one would expect. */
  readonly warnings: readonly string[];
}

export interface PlannedFile {
  /** Absolute, as the client sees it. */
  readonly path: string;
  readonly content: string;
  /** In words, for a file of which only a detail changes and which is therefore not shown whole; undefined: show it. */
  readonly change?: string;
}

export type Verdict = 'ok' | 'warning' | 'failed';

export interface JudgeContext {
  readonly node: NodeView;
  /** As in {@link PlanRequest}. */
  readonly clientVersion: string | undefined;
}

/**
 * `ok`: the client reaches the node. `warning`: it does, but not for everything, or it has nothing that leads here and
 * pulls as if there were no node. `failed`: its pulls fail or go past the node although it is meant to be used.
 */
export interface Finding {
  readonly target: TargetName;
  readonly verdict: Verdict;
  /** The file that it is about, as the client sees it. */
  readonly path: string;
  readonly message: string;
  /** What to do, in the imperative; undefined with `ok`. */
  readonly remedy: string | undefined;
}
