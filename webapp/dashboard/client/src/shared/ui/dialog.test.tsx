// @vitest-environment happy-dom
import { useState } from 'react';
import { expect, test } from 'vitest';

import { buttonNamed, click, render } from '../../../tests/render';
import { Dialog } from './dialog';

function Asker() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        onClick={() => {
          setOpen(true);
        }}
      >
        Ask
      </button>
      {open ? (
        <Dialog
          title="Sure?"
          onClose={() => {
            setOpen(false);
          }}
        >
          <button
            type="button"
            onClick={() => {
              setOpen(false);
            }}
          >
            Keep
          </button>
        </Dialog>
      ) : null}
    </>
  );
}

test('focus returns to what opened the dialog when a button within takes it away', async () => {
  const place = await render(<Asker />);
  const asker = buttonNamed(place, 'Ask');
  asker.focus();
  await click(asker);
  buttonNamed(place, 'Keep').focus();
  await click(buttonNamed(place, 'Keep'));
  expect(place.querySelector('dialog')).toBeNull();
  expect(document.activeElement).toBe(asker);
});
