import { seeded } from '../../peer/planner/support.ts';
import type { SimNode } from './sim-node.ts';

/** A client on the node that reads what the scenario says, and calls `done` at the end. */
export function readAll(node: SimNode, done: () => void): void {
  const { scenario } = node.world;
  if (scenario.reads === 'whole') readWhole(node, done);
  else readLazily(node, done);
}

/** All pieces in order: from its position on as many are wanted as the window says, which opens as it reads. */
function readWhole(node: SimNode, done: () => void): void {
  const { pieces, firstWindow, window } = node.world.scenario;
  let position = 0;
  const fill = (): void => {
    const end = Math.min(pieces, position + Math.min(firstWindow + 2 * position, window));
    for (let piece = position; piece < end; piece += 1) {
      if (node.has[piece] === 0) node.want(piece, piece > position);
    }
  };
  node.onPiece = () => {
    while (position < pieces && node.has[position] === 1) position += 1;
    if (position === pieces) done();
    else fill();
  };
  fill();
}

/** A few pieces at a time, here and there. */
function readLazily(node: SimNode, done: () => void): void {
  const { pieces, lazyReads, seed } = node.world.scenario;
  const random = seeded(seed);
  const touched = new Set<number>();
  while (touched.size < Math.min(lazyReads, pieces)) touched.add(Math.floor(random() * pieces));
  const order = [...touched];
  // Neighbours in time, as several clients of one image are: the same order, with a little disorder.
  for (let i = 0; i < order.length; i += 1) {
    const j = Math.min(order.length - 1, i + Math.floor(node.world.random() * 4));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  let left = order.length;
  const more = (): void => {
    const piece = order.shift();
    if (piece !== undefined) node.want(piece, false);
  };
  node.onPiece = () => {
    left -= 1;
    if (left === 0) done();
    else more();
  };
  more();
  more();
}
