import { useQuery } from '@tanstack/react-query';

import { orderQuery } from '../../shared/api/queries';
import { Link } from '../../shared/route';
import { Dialog } from '../../shared/ui/dialog';
import { Answer } from '../../shared/ui/panel';
import { OrderDetailView } from './order-detail';
import { OrderTitle } from './order-title';

/** Everything that is known about one order, beside what was being looked at. */
export function OrderDrawer({ id, onClose }: { id: number; onClose: () => void }) {
  return (
    <Dialog title={<OrderTitle id={id} />} shape="drawer" onClose={onClose}>
      <Answer query={useQuery(orderQuery(id))} what="order">
        {(order) => <OrderDetailView order={order} />}
      </Answer>
      <p className="order-own-page">
        <Link to={`/orders/${id}`}>Open as a page</Link>
      </p>
    </Dialog>
  );
}
