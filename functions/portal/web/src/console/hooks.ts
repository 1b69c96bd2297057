// Small hooks that several pages use.

import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { session, watchSession } from "./session";

/** Who is signed in; null: nobody. */
export function useSession() {
  const [, redraw] = useState(0);
  useLayoutEffect(() => watchSession(() => redraw((n) => n + 1)), []);
  return session();
}

/** A value that changes only after it has stayed the same for so many milliseconds. */
export function useSettled<T>(value: T, milliseconds: number): T {
  const [settled, set] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => set(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value, milliseconds]);
  return settled;
}

/** Redraws every so many milliseconds: what is said of the time goes on. */
export function useTick(milliseconds: number): void {
  const [, redraw] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => redraw((n) => n + 1), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
}
