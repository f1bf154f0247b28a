import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';

import { controlFeed, type FeedControl } from '../../shared/api/commands';
import type { Feed } from '../../shared/api/model';
import { marketQuery, statusQuery } from '../../shared/api/queries';
import { marketTimeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import './replay.css';

const SPEEDS = [0.5, 1, 2, 5, 10, 50];

const count = new Intl.NumberFormat('en-GB');

/** Play, pause, speed and place of the replayed sample. */
export function ReplayBar({ feed }: { feed: Feed }) {
  const client = useQueryClient();
  const quoteTime = useQuery(marketQuery(feed.instrument)).data?.quote?.time ?? null;
  const control = useMutation({
    mutationFn: (change: FeedControl) => controlFeed(change),
    onError: (error) => {
      notify('error', `The replay could not be changed. ${error.message}`);
    },
    onSettled: () => client.invalidateQueries({ queryKey: statusQuery.queryKey }),
  });
  const paused = control.isPending ? (control.variables.paused ?? feed.paused) : feed.paused;
  const speed = control.isPending
    ? (control.variables.bars_per_second ?? feed.bars_per_second)
    : feed.bars_per_second;

  return (
    <section className="panel replay" data-view="chart" aria-label="Replay">
      {feed.at_end ? (
        <button
          type="button"
          className="primary"
          disabled={feed.restart_requested || control.isPending}
          onClick={() => {
            control.mutate({ restart: true });
          }}
        >
          {feed.restart_requested ? 'Restarting' : 'Restart'}
        </button>
      ) : (
        <button
          type="button"
          className="play"
          aria-label={paused ? 'Play' : 'Pause'}
          onClick={() => {
            control.mutate({ paused: !paused });
          }}
        >
          <PlayIcon paused={paused} />
        </button>
      )}
      <div className="speeds" role="group" aria-label="Bars per second">
        {SPEEDS.map((each) => (
          <button
            key={each}
            type="button"
            aria-pressed={speed === each}
            disabled={feed.at_end}
            onClick={() => {
              control.mutate({ bars_per_second: each });
            }}
          >
            {each}×
          </button>
        ))}
      </div>
      <progress
        aria-label="Bars replayed"
        value={Math.max(0, feed.cursor - feed.history_bars)}
        max={Math.max(1, feed.total - feed.history_bars)}
      />
      <p className="replay-place" role={feed.at_end ? 'status' : undefined}>
        {feed.at_end ? <strong>End of the sample. </strong> : null}
        {feed.restart_requested && !feed.at_end ? <strong>Restarting. </strong> : null}
        <span>
          bar {count.format(feed.cursor)} of {count.format(feed.total)}
        </span>
        <span className="replay-time">{marketTimeText(quoteTime)}</span>
      </p>
    </section>
  );
}

function PlayIcon({ paused }: { paused: boolean }) {
  return (
    <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" fill="currentColor">
      {paused ? <path d="M2.5 1v10l8-5z" /> : <path d="M2 1h3v10H2zM7 1h3v10H7z" />}
    </svg>
  );
}
