import { useMutation, type UseMutationResult } from '@tanstack/react-query';
import { useRef } from 'react';

import { idempotencyKey } from './commands';
import { ApiError } from './http';

type Outcome<Answer> = {
  onSuccess?: (answer: Answer) => void;
  onError?: (error: Error) => void;
};

/**
 * Ask for something that must not be done twice.
 *
 * As long as it is open whether a wish was heard (no answer came, or one from a server in trouble),
 * the same wish carries the same key, so that pressing again does nothing twice. Once an answer
 * came, or when the wish is another one, there is another key.
 *
 * @param ask  sends the wish with its key. What the request holds is in the wish.
 */
export function useAskOnce<Wish, Answer>(
  ask: (wish: Wish, key: string) => Promise<Answer>,
  outcome: Outcome<Answer> = {},
): UseMutationResult<Answer, Error, Wish> {
  const open = useRef<{ wish: string; key: string } | null>(null);
  return useMutation({
    mutationFn: async (wish: Wish) => {
      const text = JSON.stringify(wish);
      if (open.current?.wish !== text) open.current = { wish: text, key: idempotencyKey() };
      try {
        const answer = await ask(wish, open.current.key);
        open.current = null;
        return answer;
      } catch (error) {
        if (isAnswered(error)) open.current = null;
        throw error;
      }
    },
    ...outcome,
  });
}

/** Whether the server decided: what it says while it is in trouble leaves open what it did. */
function isAnswered(error: unknown): boolean {
  return error instanceof ApiError && error.status >= 400 && error.status < 500;
}
