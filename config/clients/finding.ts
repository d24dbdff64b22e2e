import type { Finding, TargetName } from './client-target.ts';

/** Findings of one client: the verdict is the name, the remedy is in the imperative and without a full stop. */
export function findingsOf(target: TargetName): {
  ok(path: string, message: string): Finding;
  warning(path: string, message: string, remedy: string): Finding;
  failed(path: string, message: string, remedy: string): Finding;
} {
  return {
    ok: (path, message) => ({ target, verdict: 'ok', path, message, remedy: undefined }),
    warning: (path, message, remedy) => ({ target, verdict: 'warning', path, message, remedy }),
    failed: (path, message, remedy) => ({ target, verdict: 'failed', path, message, remedy }),
  };
}

/** The first comment of a file that setup makes. */
export function madeBy(target: TargetName): string {
  return `# Made by "damselfly setup ${target}"; "damselfly setup ${target} --undo" takes it back.\n`;
}
