import { useQuery } from '@tanstack/react-query';

import { orderQuery } from '../../shared/api/queries';
import { Link } from '../../shared/route';
import { Answer } from '../../shared/ui/panel';
import { OrderDetailView } from './order-detail';
import { OrderTitle } from './order-title';

/** One order at its own address. */
export function OrderPage({ id }: { id: number }) {
  return (
    <main className="order-page">
      <header>
        <h2>
          <OrderTitle id={id} />
        </h2>
        <Link to="/">Back to the desk</Link>
      </header>
      <Answer query={useQuery(orderQuery(id))} what="order">
        {(order) => <OrderDetailView order={order} />}
      </Answer>
    </main>
  );
}
