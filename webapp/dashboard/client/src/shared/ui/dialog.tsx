import { useEffect, useId, useRef, type ReactNode } from 'react';

type DialogProps = {
  title: ReactNode;
  onClose: () => void;
  /** A drawer stands at the right edge; a box in the middle. */
  shape?: 'box' | 'drawer';
  children: ReactNode;
};

/**
 * A modal dialog of the browser: focus stays inside, Escape and a click outside close it. However
 * it goes, focus returns to where it was.
 */
export function Dialog({ title, onClose, shape = 'box', children }: DialogProps) {
  const id = useId();
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    if (dialog?.open === false) dialog.showModal();
    return () => {
      // The browser gives focus back when it closes a dialog, not when one leaves the page.
      if (before instanceof HTMLElement && document.activeElement === document.body) before.focus();
    };
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
      <section className="dialog-body">
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
      </section>
    </dialog>
  );
}
