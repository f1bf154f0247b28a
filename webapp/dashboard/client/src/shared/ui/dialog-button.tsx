import { useState, type ComponentProps, type ReactNode } from 'react';

type DialogButtonProps = Omit<ComponentProps<'button'>, 'children' | 'onClick' | 'type'> & {
  label: ReactNode;
  /** The dialog, made anew each time that the button is pressed. */
  children: (close: () => void) => ReactNode;
};

/** A button that opens a dialog. */
export function DialogButton({ label, children, ...attributes }: DialogButtonProps) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        {...attributes}
        type="button"
        aria-haspopup="dialog"
        onClick={() => {
          setOpen(true);
        }}
      >
        {label}
      </button>
      {open
        ? children(() => {
            setOpen(false);
          })
        : null}
    </>
  );
}
