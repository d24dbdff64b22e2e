import type { ClientTarget } from './client-target.ts';

/** Every client that `setup` configures and `doctor` judges. */
export const TARGETS: readonly ClientTarget[] = [];
