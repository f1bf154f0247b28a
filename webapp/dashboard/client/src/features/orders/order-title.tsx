import { useQuery } from '@tanstack/react-query';

import { orderQuery } from '../../shared/api/queries';
import { StateChip } from './order-state';

/** An order's number and its state, once that is known. */
export function OrderTitle({ id }: { id: number }) {
  const { data } = useQuery(orderQuery(id));
  return (
    <span className="order-title">
      Order {id}
      {data === undefined ? null : <StateChip state={data.state} />}
    </span>
  );
}
