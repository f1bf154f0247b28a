import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';

import { ApiError } from '../../shared/api/http';
import type { DecimalText } from '../../shared/api/model';
import { failureText } from '../../shared/failure-text';
import { sizeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import { Dialog } from '../../shared/ui/dialog';

type PartCloseProps = {
  what: string;
  held: DecimalText;
  close: (units: string) => Promise<unknown>;
};

/** A button that asks how much of a position or trade is to be closed. */
export function PartClose({ what, held, close }: PartCloseProps) {
  const [asking, setAsking] = useState(false);
  const [units, setUnits] = useState('');
  const closing = useMutation({
    mutationFn: () => close(units),
    onSuccess: () => {
      notify('info', `Closing ${units} of ${what}: the order is on its way.`);
      setAsking(false);
    },
  });
  const wrong = closing.error instanceof ApiError ? closing.error.fields : {};
  return (
    <>
      <button
        type="button"
        aria-label={`Close a part of ${what}`}
        onClick={() => {
          closing.reset();
          setAsking(true);
        }}
      >
        Part
      </button>
      {asking ? (
        <Dialog
          title={`Close a part of ${what}`}
          onClose={() => {
            setAsking(false);
          }}
        >
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
                }}
              />
            </label>
            {closing.error === null ? null : (
              <p role="alert">
                {failureText(closing.error)}
              </p>
            )}
            <footer>
              <button
                type="button"
                onClick={() => {
                  setAsking(false);
                }}
              >
                Keep
              </button>
              <button type="submit" className="danger solid" disabled={closing.isPending}>
                Close them
              </button>
            </footer>
          </form>
        </Dialog>
      ) : null}
    </>
  );
}
