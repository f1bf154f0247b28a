import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { closeEverything, closePosition } from '../../shared/api/commands';
import type { Position } from '../../shared/api/model';
import { positionsQuery } from '../../shared/api/queries';
import { decimalsOf, instrumentText, priceText, signOf, sizeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import { Change } from '../../shared/ui/amount';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';
import { Heads } from '../../shared/ui/heads';
import { Answer, Panel } from '../../shared/ui/panel';
import { Closes } from './closes';
import { TradesTable } from './trades-table';
import './positions.css';

export function PositionsPanel() {
  const positions = useQuery(positionsQuery);
  return (
    <Panel
      title="Open positions"
      view="trade"
      actions={
        <DialogButton className="danger" label="Close everything">
          {(close) => <CloseEverything onClose={close} />}
        </DialogButton>
      }
    >
      <Answer
        query={positions}
        what="positions"
        empty={(rows) => (rows.length === 0 ? 'Nothing is held.' : null)}
      >
        {(rows) => (
          <div className="table-scroll">
            <table className="rows tight">
              <Heads
                names={[
                  'Instrument',
                  { number: 'Entry, now' },
                  { number: 'Stop' },
                  { number: 'Open P&L' },
                  { hidden: 'Close' },
                ]}
              />
              <tbody>
                {rows.map((position) => (
                  <PositionRow
                    key={`${position.instrument} ${position.side}`}
                    position={position}
                  />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Answer>
      <TradesTable />
    </Panel>
  );
}

function PositionRow({ position }: { position: Position }) {
  const { instrument, units, average_price, mark, open_pl, currency } = position;
  const decimals = decimalsOf(mark ?? average_price);
  const long = signOf(units) > 0;
  return (
    <tr>
      <th scope="row">
        {instrumentText(instrument)}
        <small className={long ? 'up' : 'down'}>
          {long ? 'long' : 'short'} {sizeText(units)}
        </small>
      </th>
      <td className="number">
        {priceText(average_price, Math.max(decimals, decimalsOf(average_price)))}
        <small>{priceText(mark, decimals)}</small>
      </td>
      <Stop position={position} decimals={decimals} />
      <td className="number">
        <Change amount={open_pl} />
        <small>{currency}</small>
      </td>
      <Closes
        what={instrumentText(instrument)}
        held={units}
        close={(key, part) => closePosition(position, key, part)}
      />
    </tr>
  );
}

function Stop({ position, decimals }: { position: Position; decimals: number }) {
  const { stop_loss, trailing_distance } = position;
  const trailing =
    trailing_distance === null ? null : `trailing ${priceText(trailing_distance, decimals)}`;
  if (stop_loss === null && trailing === null) return <td className="number warn">none</td>;
  return (
    <td className="number">
      {stop_loss === null ? null : priceText(stop_loss, decimals)}
      {trailing === null ? null : <small className="trails">{trailing}</small>}
    </td>
  );
}

function CloseEverything({ onClose }: { onClose: () => void }) {
  const [reason, setReason] = useState('Closed from the dashboard');
  const close = useMutation({
    mutationFn: () => closeEverything({ scope: 'ACCOUNT', reason }),
    onSuccess: () => {
      notify('info', 'Closing everything: the orders are on their way.');
      onClose();
    },
  });
  return (
    <Dialog title="Close everything?" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          close.mutate();
        }}
      >
        <p>Every working order is cancelled and every position is closed at the market.</p>
        <label>
          Reason
          <input
            value={reason}
            maxLength={300}
            required
            onChange={(event) => {
              setReason(event.target.value);
            }}
          />
        </label>
        {close.error === null ? null : <p role="alert">{close.error.message}</p>}
        <footer>
          <button type="button" onClick={onClose}>
            Keep
          </button>
          <button type="submit" className="danger solid" disabled={close.isPending}>
            Close everything
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
