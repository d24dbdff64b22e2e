/** Enough to tell thousands apart at random. */
const MIN_SHOWN = 8;

/**
 * Ids cut to their ends, which differ while their beginnings (`12D3KooW`, the kind of key) do not; as long as it takes
 * to tell all of these apart.
 * @returns what an id of the list is shown as.
 */
export function shortIds(ids: Iterable<string>): (id: string) => string {
  const all = new Set(ids);
  let length = MIN_SHOWN;
  while (new Set(Array.from(all, (id) => id.slice(-length))).size < all.size) length += 1;
  return (id) => (id.length > length ? `…${id.slice(-length)}` : id);
}
