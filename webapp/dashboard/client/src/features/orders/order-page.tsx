import { useQuery } from '@tanstack/react-query';

import { orderQuery } from '../../shared/api/queries';
import { Link } from '../../shared/route';
import { Answer } from '../../shared/ui/panel';
import { OrderDetailView } from './order-detail';
import { StateChip } from './order-state';

/** One order at its own address. */
export function OrderPage({ id }: { id: number }) {
  const query = useQuery(orderQuery(id));
  return (
    <main className="order-page">
      <header>
        <h2>
          Order {id}
          {query.data === undefined ? null : <StateChip state={query.data.state} />}
        </h2>
        <Link to="/">Back to the desk</Link>
      </header>
      <Answer query={query} what="order">
        {(order) => <OrderDetailView order={order} />}
      </Answer>
    </main>
  );
}
