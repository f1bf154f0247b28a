import { infiniteQueryOptions, useInfiniteQuery } from '@tanstack/react-query';
import { useMemo } from 'react';

import { request } from '../../shared/api/http';
import {
  candles as candlesSchema,
  qfh as qfhSchema,
  type Candle,
  type QfhPoint,
} from '../../shared/api/model';

const BARS_A_PAGE = 2_000;

const olderQuery = (instrument: string, granularity: string, before: string) =>
  infiniteQueryOptions({
    queryKey: ['older', instrument, granularity, before],
    queryFn: async ({ pageParam }) => {
      const page =
        `${instrument}?granularity=${granularity}&limit=${BARS_A_PAGE}` +
        `&before=${encodeURIComponent(pageParam)}`;
      const [{ candles }, { points }] = await Promise.all([
        request(`/api/candles/${page}`, candlesSchema),
        request(`/api/qfh/${page}`, qfhSchema),
      ]);
      return { candles, points };
    },
    initialPageParam: before,
    // A page that is not full is the oldest.
    getNextPageParam: ({ candles }) =>
      candles.length < BARS_A_PAGE ? undefined : candles[0]?.start,
    staleTime: Infinity,
    enabled: false,
  });

/**
 * The candles before those that the page holds and their metrics, read page by page when `more` is
 * called. After a failure `more` does nothing, as it comes with every step of the mouse: a person
 * asks again by `retry`.
 *
 * @param heldCandles  oldest first; when the oldest of them goes, what was before it is read anew.
 * @param heldPoints  their metrics, oldest first.
 */
export function useOlderBars(
  instrument: string,
  granularity: string,
  heldCandles: Candle[],
  heldPoints: QfhPoint[],
) {
  const before = heldCandles[0]?.start ?? '';
  const { data, fetchNextPage, hasNextPage, isFetching, isError, error } = useInfiniteQuery(
    olderQuery(instrument, granularity, before),
  );
  const pages = useMemo(() => data?.pages.toReversed() ?? [], [data]);
  const candles = useMemo(
    () => [...pages.flatMap((page) => page.candles), ...heldCandles],
    [pages, heldCandles],
  );
  const points = useMemo(
    () => [...pages.flatMap((page) => page.points), ...heldPoints],
    [pages, heldPoints],
  );
  const ended = data !== undefined && !hasNextPage;
  const more = () => {
    if (!ended && !isFetching && !isError && before !== '') void fetchNextPage();
  };
  const retry = () => {
    void fetchNextPage();
  };
  return { candles, points, more, retry, isReading: isFetching, error };
}
