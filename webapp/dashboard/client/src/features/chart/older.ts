import { infiniteQueryOptions, useInfiniteQuery } from '@tanstack/react-query';
import { useMemo } from 'react';

import { request } from '../../shared/api/http';
import { candles as candlesSchema, type Candle } from '../../shared/api/model';

const BARS_A_PAGE = 2_000;

const olderQuery = (instrument: string, granularity: string, before: string) =>
  infiniteQueryOptions({
    queryKey: ['older', instrument, granularity, before],
    queryFn: ({ pageParam }) =>
      request(
        `/api/candles/${instrument}?granularity=${granularity}&limit=${BARS_A_PAGE}` +
          `&before=${encodeURIComponent(pageParam)}`,
        candlesSchema,
      ),
    initialPageParam: before,
    // A page that is not full is the oldest.
    getNextPageParam: ({ candles }) =>
      candles.length < BARS_A_PAGE ? undefined : candles[0]?.start,
    staleTime: Infinity,
    enabled: false,
  });

/**
 * The candles before those that the page holds, read page by page when `more` is called.
 *
 * @param held  oldest first; when the oldest of them goes, what was before it is read anew.
 */
export function useOlderCandles(instrument: string, granularity: string, held: Candle[]) {
  const before = held[0]?.start ?? '';
  const { data, fetchNextPage, hasNextPage, isFetching, isError } = useInfiniteQuery(
    olderQuery(instrument, granularity, before),
  );
  const all = useMemo(() => {
    const pages = data?.pages ?? [];
    return [...pages.toReversed().flatMap(({ candles }) => candles), ...held];
  }, [data, held]);
  const ended = data !== undefined && !hasNextPage;
  const more = () => {
    if (!ended && !isFetching && !isError && before !== '') void fetchNextPage();
  };
  return { all, more };
}
