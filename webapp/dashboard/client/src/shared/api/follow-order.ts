import { matchQuery, type QueryClient } from '@tanstack/react-query';

import type { Order, OrderState } from './model';
import { ordersQuery } from './queries';

/** What a market order is in on its way: whatever else it is in tells what became of it. */
const ON_ITS_WAY: ReadonlySet<OrderState> = new Set([
  'CREATED',
  'QUEUED',
  'SENDING',
  'ACCEPTED',
  'PARTIAL',
]);

/** Call `tell` once with the order when it is plain, or in doubt, what became of it. */
export function followOrder(
  client: QueryClient,
  order: Order,
  tell: (order: Order) => void,
): void {
  const told = () => {
    const rows = client.getQueryData(ordersQuery.queryKey);
    const now = rows?.find(({ id }) => id === order.id) ?? order;
    if (ON_ITS_WAY.has(now.state)) return false;
    tell(now);
    return true;
  };
  if (told()) return;
  const stop = client.getQueryCache().subscribe(({ query }) => {
    if (matchQuery({ queryKey: ordersQuery.queryKey }, query) && told()) stop();
  });
}
