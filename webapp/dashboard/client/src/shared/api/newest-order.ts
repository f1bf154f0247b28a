import { useQuery } from '@tanstack/react-query';

import type { Order } from './model';
import { ordersQuery } from './queries';

/** The order as it is now: what the socket brought since the answer, if it is newer. */
export function useNewestOrder(order: Order | undefined): Order | undefined {
  const { data: orders } = useQuery(ordersQuery);
  const live = orders?.find(({ id }) => id === order?.id);
  return order !== undefined && live !== undefined && live.updated_at > order.updated_at
    ? live
    : order;
}
