import { useEffect, useId, useRef, type ReactNode } from 'react';

type DialogProps = {
  title: ReactNode;
  onClose: () => void;
  /** A drawer stands at the right edge; a box in the middle. */
  shape?: 'box' | 'drawer';
  children: ReactNode;
};

/** A modal dialog of the browser: focus stays inside, Escape and a click outside close it. */
export function Dialog({ title, onClose, shape = 'box', children }: DialogProps) {
  const id = useId();
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    if (dialog?.open === false) dialog.showModal();
  }, []);
  return (
    <dialog
      ref={element}
      className={`dialog ${shape}`}
      aria-labelledby={id}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === element.current) element.current.close();
      }}
    >
      <div className="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          <button
            type="button"
            className="quiet"
            aria-label="Close"
            onClick={() => element.current?.close()}
          >
            ✕
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
