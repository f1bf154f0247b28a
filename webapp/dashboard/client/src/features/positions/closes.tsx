import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { followOrder } from '../../shared/api/follow-order';
import { ApiError } from '../../shared/api/http';
import type { DecimalText, Order } from '../../shared/api/model';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { failureText } from '../../shared/failure-text';
import { sizeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';
import { tellClose } from './told';

type ClosesProps = {
  /** What is closed, as in "Close EUR/USD". */
  what: string;
  held: DecimalText;
  /** Ask for `units` of it to be closed, or for all. */
  close: (key: string, units?: string) => Promise<Order>;
};

/** Buttons that close all of a position or trade, or a part; what became of it is told. */
export function Closes({ what, held, close }: ClosesProps) {
  const client = useQueryClient();
  const [onItsWay, setOnItsWay] = useState(false);
  const follow = (order: Order) => {
    setOnItsWay(true);
    followOrder(client, order, (end) => {
      setOnItsWay(false);
      tellClose(what, end);
    });
  };
  // Where what is held has changed, all of it is another wish: it may have been opened anew since.
  const all = useAskOnce((_held: string, key) => close(key), {
    onSuccess: follow,
    onError: (error) => {
      notify('error', `${what} could not be closed. ${error.message}`);
    },
  });
  return (
    <td className="closes">
      <button
        type="button"
        disabled={all.isPending}
        aria-label={`Close ${what}`}
        onClick={() => {
          all.mutate(held);
        }}
      >
        {all.isPending || onItsWay ? 'Closing' : 'Close'}
      </button>
      <DialogButton label="Part" aria-label={`Close a part of ${what}`}>
        {(done) => (
          <PartDialog what={what} held={held} close={close} onAsked={follow} onClose={done} />
        )}
      </DialogButton>
    </td>
  );
}

type PartDialogProps = ClosesProps & { onAsked: (order: Order) => void; onClose: () => void };

/** How much of it is to be closed? */
function PartDialog({ what, held, close, onAsked, onClose }: PartDialogProps) {
  const [units, setUnits] = useState('');
  const part = useAskOnce((wanted: string, key) => close(key, wanted), {
    onSuccess: (order) => {
      onAsked(order);
      onClose();
    },
  });
  const wrong = part.error instanceof ApiError ? part.error.fields : {};
  return (
    <Dialog title={`Close a part of ${what}`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          part.mutate(units);
        }}
      >
        <label>
          Units, at most {sizeText(held)}
          <input
            inputMode="decimal"
            required
            pattern="\d{1,18}(\.\d{1,10})?"
            aria-invalid={'units' in wrong}
            value={units}
            onChange={({ target }) => {
              setUnits(target.value);
            }}
          />
        </label>
        {part.error === null ? null : <p role="alert">{failureText(part.error)}</p>}
        <footer>
          <button type="button" onClick={onClose}>
            Keep
          </button>
          <button type="submit" className="danger solid" disabled={part.isPending}>
            Close them
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
