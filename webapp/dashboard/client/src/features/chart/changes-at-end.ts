/**
 * What has to be drawn to get from `drawn` to `next` when they differ at their end only: the last
 * item if it changed, and what follows it. Null when they differ elsewhere and all must be drawn.
 * Items that did not change are the same objects.
 */
export function changesAtEnd<Item>(
  drawn: readonly Item[],
  next: readonly Item[],
  timeOf: (item: Item) => string,
): Item[] | null {
  const end = drawn.length - 1;
  const [last, same] = [drawn[end], next[end]];
  if (end < 1 || last === undefined || same === undefined) return null;
  if (next[0] !== drawn[0] || next[end - 1] !== drawn[end - 1]) return null;
  // Bars that were missed may have come in before the last one.
  if (timeOf(same) !== timeOf(last)) return null;
  return next.slice(same === last ? end + 1 : end);
}
