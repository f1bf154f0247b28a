import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';

import { idempotencyKey } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import type { DecimalText } from '../../shared/api/model';
import { failureText } from '../../shared/failure-text';
import { sizeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';

type PartCloseProps = {
  what: string;
  held: DecimalText;
  close: (units: string, key: string) => Promise<unknown>;
};

/** A button that asks how much of a position or trade is to be closed. */
export function PartClose(part: PartCloseProps) {
  return (
    <DialogButton label="Part" aria-label={`Close a part of ${part.what}`}>
      {(done) => <PartDialog {...part} onClose={done} />}
    </DialogButton>
  );
}

function PartDialog({ what, held, close, onClose }: PartCloseProps & { onClose: () => void }) {
  const [units, setUnits] = useState('');
  // One key for one part: pressing again after an answer was lost closes nothing twice.
  const [key, setKey] = useState(idempotencyKey);
  const closing = useMutation({
    mutationFn: () => close(units, key),
    onSuccess: () => {
      notify('info', `Closing ${units} of ${what}: the order is on its way.`);
      onClose();
    },
    onError: (error) => {
      // An answer came, so the next press is another wish.
      if (error instanceof ApiError && error.status !== 0) setKey(idempotencyKey());
    },
  });
  const wrong = closing.error instanceof ApiError ? closing.error.fields : {};
  return (
    <Dialog title={`Close a part of ${what}`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          closing.mutate();
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
              setKey(idempotencyKey());
            }}
          />
        </label>
        {closing.error === null ? null : <p role="alert">{failureText(closing.error)}</p>}
        <footer>
          <button type="button" onClick={onClose}>
            Keep
          </button>
          <button type="submit" className="danger solid" disabled={closing.isPending}>
            Close them
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
