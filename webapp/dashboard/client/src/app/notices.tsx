import { dismiss, useNotices } from '../shared/notices';

export function Notices() {
  return (
    <div className="notices" role="status" aria-live="polite">
      {useNotices().map(({ id, level, text }) => (
        <p key={id} className={`notice ${level}`}>
          {text}
          <button
            type="button"
            className="quiet"
            aria-label="Dismiss"
            onClick={() => {
              dismiss(id);
            }}
          >
            ✕
          </button>
        </p>
      ))}
    </div>
  );
}
