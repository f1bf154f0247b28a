import type { DecimalText } from '../api/model';
import { changeText, signOf } from '../format';

const TONES = { '-1': 'down', '0': '', '1': 'up' } as const;

/** A gain or a loss: sign and colour say the same. */
export function Change({ amount, unit }: { amount: DecimalText | null; unit?: string }) {
  return (
    <span className={`figure ${TONES[signOf(amount)]}`}>
      {changeText(amount)}
      {unit === undefined ? null : <small> {unit}</small>}
    </span>
  );
}
