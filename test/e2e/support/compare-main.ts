import { compareTrees } from './tree-compare.ts';

// A reader of a mount in a process of its own, so that readers of several mounts do not wait for each other in one
// thread pool. Arguments: the source and the mount. Prints a TreeComparison as JSON.
const [expected, actual] = process.argv.slice(2);
if (expected === undefined || actual === undefined) throw new Error('usage: compare-main.ts SOURCE MOUNT');
console.log(JSON.stringify(await compareTrees(expected, actual)));
