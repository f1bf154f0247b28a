/**
 * Whether `next` is `drawn` but for its last item and what follows it, so that drawing the end is
 * enough. Items that did not change are the same objects.
 */
export function continues<Item>(
  drawn: readonly Item[],
  next: readonly Item[],
  timeOf: (item: Item) => string,
): boolean {
  const [last, same] = [drawn.at(-1), next[drawn.length - 1]];
  if (drawn.length < 2 || last === undefined || same === undefined) return false;
  return (
    next[0] === drawn[0] &&
    next[drawn.length - 2] === drawn[drawn.length - 2] &&
    // Bars that were missed may have come in before the last one.
    timeOf(same) === timeOf(last)
  );
}
