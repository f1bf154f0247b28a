import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { cancelOrder } from '../../shared/api/commands';
import type { OrderDetail } from '../../shared/api/model';
import { brokerQuery } from '../../shared/api/queries';
import { denialText } from '../../shared/order-words';
import { ChangeForm } from './change-form';
import { CANCELLABLE, CHANGEABLE, MEANINGS } from './order-state';

/** Where the order stands, what that means, and what can still be done about it. */
export function Standing({ order }: { order: OrderDetail }) {
  const cancel = useMutation({ mutationFn: () => cancelOrder(order.id) });
  const broker = useQuery(brokerQuery).data;
  const [changing, setChanging] = useState(false);
  const changeable = CHANGEABLE[order.state] && broker?.replaces === true;
  const cancellable = CANCELLABLE[order.state];
  const meaning = MEANINGS[order.state];
  return (
    <>
      {meaning === undefined ? null : (
        <p className="order-meaning">
          {meaning}
          {order.cause === '' || order.denied_reason !== '' ? null : (
            <span className="soft"> Last heard: {order.cause}.</span>
          )}
        </p>
      )}
      {changeable || cancellable ? (
        <p className="order-standing">
          {changeable && !changing ? (
            <button
              type="button"
              onClick={() => {
                setChanging(true);
              }}
            >
              Change
            </button>
          ) : null}
          {cancellable ? (
            <button
              type="button"
              disabled={cancel.isPending || cancel.isSuccess}
              onClick={() => {
                cancel.mutate();
              }}
            >
              Cancel the order
            </button>
          ) : null}
        </p>
      ) : null}
      {changeable && changing ? (
        <ChangeForm
          order={order}
          onDone={() => {
            setChanging(false);
          }}
        />
      ) : null}
      {cancel.error === null ? null : <p role="alert">{cancel.error.message}</p>}
      {order.denied_reason === '' ? null : (
        <p className="refusal" role="note">
          {denialText(order)}
        </p>
      )}
    </>
  );
}
