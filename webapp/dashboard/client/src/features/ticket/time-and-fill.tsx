import { positionFill, timeInForce } from '../../shared/api/model';
import { wordsOf } from '../../shared/format';
import { PROTECTIVE } from '../../shared/order-kinds';
import { TIME_WORDS } from '../../shared/order-words';
import type { FormProps } from './ticket-fields';

/** How long the order is good, and what a fill may do: seldom changed, so folded away. */
export function TimeAndFill({ entry, wrong, broker, onChange }: FormProps) {
  const terms = broker?.types.find(({ type }) => type === entry.type);
  return (
    <details className="ticket-more">
      <summary>
        {entry.time_in_force === '' ? 'Time and fill' : TIME_WORDS[entry.time_in_force]}
      </summary>
      <label>
        Good
        <select
          value={entry.time_in_force}
          aria-invalid={'time_in_force' in wrong}
          onChange={({ target }) => {
            const chosen = timeInForce.safeParse(target.value).data ?? '';
            onChange({
              time_in_force: chosen,
              good_until: chosen === 'GTD' ? entry.good_until : '',
            });
          }}
        >
          <option value="">as is usual</option>
          {terms?.times_in_force.map((force) => (
            <option key={force} value={force}>
              {TIME_WORDS[force]}
            </option>
          ))}
        </select>
      </label>
      {entry.time_in_force === 'GTD' ? (
        <label>
          Until, market time UTC
          <input
            type="datetime-local"
            aria-invalid={'good_until' in wrong}
            value={entry.good_until}
            onChange={({ target }) => {
              onChange({ good_until: target.value });
            }}
          />
        </label>
      ) : null}
      {PROTECTIVE.has(entry.type) ? null : (
        <label>
          A fill may
          <select
            value={entry.position_fill}
            aria-invalid={'position_fill' in wrong}
            onChange={({ target }) => {
              onChange({ position_fill: positionFill.parse(target.value) });
            }}
          >
            {(broker?.position_fills ?? (['DEFAULT'] as const)).map((fill) => (
              <option key={fill} value={fill}>
                {fill === 'DEFAULT' ? 'reduce and open' : wordsOf(fill)}
              </option>
            ))}
          </select>
        </label>
      )}
    </details>
  );
}
