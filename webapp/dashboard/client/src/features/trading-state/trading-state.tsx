import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { setTradingState } from '../../shared/api/commands';
import { tradingStateName, type Status, type TradingStateName } from '../../shared/api/model';
import { statusQuery } from '../../shared/api/queries';
import { Dialog } from '../../shared/ui/dialog';
import './trading-state.css';

const MEANINGS: Record<TradingStateName, string> = {
  ACTIVE: 'Signals are traded within the limits.',
  REDUCING: 'Positions may shrink, none may grow or open.',
  HALTED: 'No order is sent. Positions stay as they are.',
};

const NAMES = tradingStateName.options;

export function TradingStateControl({ trading }: { trading: Status['trading'] }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        className="trading-state"
        data-state={trading.state}
        title={trading.reason === '' ? MEANINGS[trading.state] : trading.reason}
        aria-haspopup="dialog"
        onClick={() => {
          setOpen(true);
        }}
      >
        <span className="hidden">Trading is </span>
        {trading.state}
      </button>
      {open ? (
        <StateDialog
          trading={trading}
          onClose={() => {
            setOpen(false);
          }}
        />
      ) : null}
    </>
  );
}

type StateDialogProps = { trading: Status['trading']; onClose: () => void };

function StateDialog({ trading, onClose }: StateDialogProps) {
  const client = useQueryClient();
  const [state, setState] = useState<TradingStateName>(
    trading.state === 'ACTIVE' ? 'HALTED' : 'ACTIVE',
  );
  const [reason, setReason] = useState('');
  const change = useMutation({
    mutationFn: () => setTradingState(state, reason),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: statusQuery.queryKey });
      onClose();
    },
  });
  return (
    <Dialog title="Trading state" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate();
        }}
      >
        <p>
          Now <b>{trading.state.toLowerCase()}</b>
          {trading.reason === '' ? '.' : `: ${trading.reason}`}
        </p>
        <fieldset className="choices">
          <legend className="hidden">Change to</legend>
          {NAMES.map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="state"
                checked={state === name}
                onChange={() => {
                  setState(name);
                }}
              />
              <span className="trading-state" data-state={name}>
                {name}
              </span>
              <small>{MEANINGS[name]}</small>
            </label>
          ))}
        </fieldset>
        <label>
          Reason
          <input
            value={reason}
            maxLength={300}
            required
            placeholder="Why, for the record"
            onChange={(event) => {
              setReason(event.target.value);
            }}
          />
        </label>
        {change.error === null ? null : <p role="alert">{change.error.message}</p>}
        <footer>
          <button type="button" onClick={onClose}>
            Leave as it is
          </button>
          <button type="submit" className="primary" disabled={change.isPending}>
            Set {state.toLowerCase()}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
