import type { StatusDocument } from '../../src/admin/status-document.ts';
import { formatBytes } from '../../src/commands/quantity.ts';

const WIDTH = 10;

/** Who sent how much to whom, by what each receiver says of itself: a row for each sender, a column for each receiver. */
export function whoServedWhom(documents: readonly StatusDocument[]): string[] {
  const names = documents.map((_, index) => `node ${index + 1}`);
  const received = (to: StatusDocument, from: StatusDocument): number =>
    to.peers?.members.find(({ id }) => id === from.peers?.id)?.receivedBytes ?? 0;
  const rows: [name: string, ...cells: string[]][] = [
    ['to', ...names, 'in all'],
    row(
      'registry',
      documents.map(({ traffic }) => traffic.receivedBytes.origin),
    ),
    ...documents.map((from, index) =>
      row(
        `node ${index + 1}`,
        documents.map((to) => (to === from ? null : received(to, from))),
      ),
    ),
  ];
  return rows.map(
    ([name, ...cells]) => `${name.padEnd(WIDTH)}${cells.map((cell) => cell.padStart(WIDTH + 2)).join('')}`,
  );
}

function row(name: string, bytes: readonly (number | null)[]): [string, ...string[]] {
  const sum = bytes.reduce<number>((total, each) => total + (each ?? 0), 0);
  return [name, ...bytes.map((each) => (each === null ? '·' : formatBytes(each))), formatBytes(sum)];
}
