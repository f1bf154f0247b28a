import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';

import { setSession } from '../../shared/api/research';
import { failureText } from '../../shared/failure-text';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';

/** What the server calls otherwise than the page. */
const LABELS = { session: 'Enter only within' };

type Strategy = { id: number; name: string; session: string };

/** When may the strategy enter? */
export function HoursButton({ strategy }: { strategy: Strategy }) {
  return (
    <DialogButton label="Hours">
      {(close) => <HoursDialog strategy={strategy} onClose={close} />}
    </DialogButton>
  );
}

function HoursDialog({ strategy, onClose }: { strategy: Strategy; onClose: () => void }) {
  const [session, setText] = useState(strategy.session);
  const set = useMutation({
    mutationFn: () => setSession(strategy.id, session),
    // The stream of the system tells the new status to every page.
    onSuccess: onClose,
  });
  return (
    <Dialog title={`Hours of ${strategy.name}`} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          set.mutate();
        }}
      >
        <p>
          It enters only within these hours, and at any time where they are empty. Its verdict and
          overrides end with a change; the trader decides by it from its next start on.
        </p>
        <label>
          Enter only within
          <input
            value={session}
            maxLength={200}
            placeholder="mon-fri 08:00-17:00 Europe/London"
            aria-invalid={set.isError}
            onChange={(event) => {
              setText(event.target.value);
            }}
          />
        </label>
        {set.error === null ? null : <p role="alert">{failureText(set.error, LABELS)}</p>}
        <footer>
          <button type="submit" disabled={set.isPending || session === strategy.session}>
            Set the hours
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
