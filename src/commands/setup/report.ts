import type { Plan } from '../../../config/clients/client-target.ts';
import type { FileState, WrittenFile } from './apply.ts';
import type { UndoneFile } from './undo.ts';

export interface ShownPlan {
  readonly target: string;
  readonly mode: 'dry-run' | 'write';
  /** How the client reaches the node. */
  readonly node: string;
  readonly plan: Plan;
  readonly states: ReadonlyMap<string, FileState>;
  /** Of `--write`. */
  readonly written: readonly WrittenFile[] | undefined;
}

/** stdout of a dry run: the file as it will be; several one after the other, each below a comment that names it. */
export function contentsText({ plan }: ShownPlan): string {
  const shown = plan.files.filter(({ change }) => change === undefined);
  const [first] = shown;
  if (shown.length === 1 && first !== undefined) return first.content;
  return shown.map(({ content, path }) => `# ==> ${path} <==\n${content}`).join('\n');
}

/** stderr of a dry run: where that belongs, and what else there is to know. */
export function remarksText(shown: ShownPlan): string {
  const { node, plan, states, target } = shown;
  const lines = [`For ${target}, through the node at ${node}:`];
  for (const { change, path } of plan.files) {
    const state = states.get(path);
    if (state === 'unchanged') lines.push(`  ${path}  is so already`);
    else lines.push(`  ${path}  ${change ?? (state === 'new' ? 'a new file' : 'would be changed to this')}`);
  }
  lines.push(...adviceLines(plan), 'Nothing was written: --write does that, and --undo takes it back.');
  return `${lines.join('\n')}\n`;
}

export function writtenText({ node, plan, target, written = [] }: ShownPlan): string {
  const lines = [`${target} goes through the node at ${node}:`];
  for (const { backup, path, state } of written) {
    const what = state === 'unchanged' ? 'was so already' : state === 'new' ? 'written, new' : 'changed';
    lines.push(`  ${path}  ${what}${backup === undefined ? '' : ` (as it was: ${backup})`}`);
  }
  return `${[...lines, ...adviceLines(plan)].join('\n')}\n`;
}

export function undoneText(target: string, undone: readonly UndoneFile[] | undefined): string {
  if (undone === undefined)
    return `Nothing to undo: setup has not written anything for ${target}, or it was undone.\n`;
  const lines = undone.map(({ path, saved, state }) => {
    const what =
      state === 'restored' ? 'as it was before' : state === 'removed' ? 'removed' : 'was so already';
    return `  ${path}  ${what}${saved === undefined ? '' : ` (your change: ${saved})`}`;
  });
  return `${[`${target} is as it was before setup:`, ...lines].join('\n')}\n`;
}

export function planDocument({ mode, node, plan, states, target, written }: ShownPlan): unknown {
  return {
    target,
    mode,
    node,
    files: plan.files.map(({ change, content, path }) => ({
      path,
      state: states.get(path),
      content,
      ...(change === undefined ? {} : { change }),
      backup: written?.find((file) => file.path === path)?.backup ?? null,
    })),
    damselfly: plan.damselfly ?? null,
    notes: plan.notes,
    warnings: plan.warnings,
  };
}

export function undoDocument(target: string, undone: readonly UndoneFile[] | undefined): unknown {
  return {
    target,
    mode: 'undo',
    files: (undone ?? []).map(({ path, saved, state }) => ({ path, state, saved: saved ?? null })),
  };
}

function adviceLines(plan: Plan): string[] {
  const lines = [
    ...plan.warnings.map((text) => `warning: ${text}`),
    ...plan.notes.map((text) => `note: ${text}`),
  ];
  if (plan.damselfly !== undefined) {
    lines.push(
      'The node needs this in its own configuration as well (add it to what is there, then restart the node):',
      ...plan.damselfly
        .trimEnd()
        .split('\n')
        .map((line) => `  ${line}`),
    );
  }
  return lines;
}
