import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState, type ReactNode } from 'react';

import type { EquityPoint } from '../../shared/api/model';
import { equityQuery, performanceQuery } from '../../shared/api/queries';
import { moneyText, shareText } from '../../shared/format';
import { useShade } from '../../shared/theme';
import { Change } from '../../shared/ui/amount';
import { Answer, Panel } from '../../shared/ui/panel';
import { EquityChart } from './equity-chart';
import './account.css';

const FEWEST_POINTS = 2;

export function AccountPanel() {
  const performance = useQuery(performanceQuery);
  const equity = useQuery(equityQuery);
  return (
    <Panel title="Account" view="account">
      <Answer query={performance} what="account">
        {({ currency, ...figures }) => (
          <>
            <p className="equity">
              {moneyText(figures.equity)} <small>{currency} equity</small>
            </p>
            <dl className="figures">
              <Figure name="Balance">{moneyText(figures.balance)}</Figure>
              <Figure name="Open P&L">
                <Change amount={figures.open_pl} />
              </Figure>
              <Figure name="Today">
                <Change amount={figures.day_pl} />
              </Figure>
              <Figure name="Realised">
                <Change amount={figures.realised_pl} />
              </Figure>
              <Figure name="Sharpe">
                {figures.sharpe === null ? 'not yet' : figures.sharpe.toFixed(2)}
              </Figure>
              <Figure name="Drawdown">{moneyText(figures.drawdown)}</Figure>
              <Figure name="Deepest">{moneyText(figures.max_drawdown)}</Figure>
              <Figure name="Wins">
                {shareText(figures.win_rate)}{' '}
                {figures.trades === 0 ? null : <small>of {figures.trades}</small>}
              </Figure>
            </dl>
          </>
        )}
      </Answer>
      <Answer
        query={equity}
        what="equity line"
        empty={({ points }) =>
          points.length < FEWEST_POINTS ? 'The equity line starts with the second bar.' : null
        }
      >
        {({ points }) => <EquityLine points={points} />}
      </Answer>
    </Panel>
  );
}

function Figure({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function EquityLine({ points }: { points: EquityPoint[] }) {
  const container = useRef<HTMLDivElement>(null);
  const [chart, setChart] = useState<EquityChart | null>(null);
  const shade = useShade();
  useEffect(() => {
    if (container.current === null) return;
    const made = new EquityChart(container.current);
    setChart(made);
    return () => {
      made.destroy();
      setChart(null);
    };
  }, []);
  useEffect(() => {
    chart?.paint();
  }, [chart, shade]);
  useEffect(() => {
    chart?.setPoints(points);
  }, [chart, points]);
  return <div ref={container} className="equity-line" role="img" aria-label="Equity over time" />;
}
