// What pages read: shown at once when it is known, read again, and kept up to date.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { now } from "../clock";
import { type Failure, read } from "./api";
import { useSession } from "./hooks";
import type { Page } from "./types";

interface Known {
  data: unknown;
  at: number;
}
// The back button shows what was there, at once. Nothing of it outlives the session.
const known = new Map<string, Known>();
const MOST_KNOWN = 200;

export const forget = (): void => known.clear();

export interface Data<T> {
  data: T | undefined;
  error: Failure | Error | null;
  /** When it was read, Unix milliseconds. */
  at: number | null;
  reload: () => Promise<void>;
  /** Show something else at once, until it is read again. */
  show: (data: T) => void;
}

/** Read something by its key; null: nothing to read. `every`: again after so many milliseconds. */
export function useData<T>(
  key: string | null,
  read: (signal: AbortSignal) => Promise<T>,
  every = 0,
): Data<T> {
  const session = useSession();
  const [, redraw] = useState(0);
  const error = useRef<Failure | Error | null>(null);
  const latest = useRef(read);
  latest.current = read;
  const running = useRef<AbortController | null>(null);

  const load = useCallback(async () => {
    if (key === null) return;
    running.current?.abort();
    const mine = new AbortController();
    running.current = mine;
    try {
      const data = await latest.current(mine.signal);
      if (mine.signal.aborted) return;
      known.delete(key);
      known.set(key, { data, at: now() });
      if (known.size > MOST_KNOWN) known.delete(known.keys().next().value ?? "");
      error.current = null;
    } catch (problem) {
      if (mine.signal.aborted) return;
      error.current = problem as Error;
    }
    redraw((n) => n + 1);
  }, [key]);

  useEffect(() => {
    error.current = null;
    if (session) void load();
    return () => running.current?.abort();
  }, [load, session?.sessionId]);

  useEffect(() => {
    if (!every || !session) return;
    const again = () => document.visibilityState === "visible" && void load();
    const timer = setInterval(again, every);
    document.addEventListener("visibilitychange", again);
    addEventListener("online", again);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", again);
      removeEventListener("online", again);
    };
  }, [load, every, session?.sessionId]);

  const found = key === null ? undefined : known.get(key);
  return {
    data: found?.data as T | undefined,
    error: error.current,
    at: found?.at ?? null,
    reload: load,
    show: (data) => {
      if (key === null) return;
      known.set(key, { data, at: now() });
      redraw((n) => n + 1);
    },
  };
}

export interface Pages<T> {
  /** The first page, as it is read. */
  first: Data<Page<T>>;
  items: T[];
  /** Read one more page; null: there is none. */
  more: (() => Promise<void>) | null;
  /** Show other items at once, until they are read again. */
  change: (each: (item: T) => T) => void;
}

/** A list that is read page by page, as its reader asks for more. */
export function usePages<T>(
  name: string,
  path: string,
  query: Record<string, string | null>,
): Pages<T> {
  const key = `${name}?${JSON.stringify(query)}`;
  const nothing = { key, items: [] as T[], next: null as string | null };
  const [found, setRead] = useState(nothing);
  const later = found.key === key ? found : nothing; // what came for another query is not shown
  const pageOf = (pageToken: string | null) =>
    read<Page<T>>(path, { limit: 50, ...query, pageToken });
  const first = useData(key, async () => {
    const page = await pageOf(null);
    setRead({ key, items: [], next: page.nextPageToken });
    return page;
  });
  const more = async () => {
    const page = await pageOf(later.next);
    setRead((now) =>
      now.key === key && now.next === later.next
        ? { key, items: [...now.items, ...page.items], next: page.nextPageToken }
        : now,
    );
  };
  const change = (each: (item: T) => T) => {
    if (first.data) first.show({ ...first.data, items: first.data.items.map(each) });
    setRead((now) => ({ ...now, items: now.items.map(each) }));
  };
  // Whoever calls later, such as an undo, changes what is shown then.
  const latest = useRef(change);
  latest.current = change;
  return {
    first,
    items: [...(first.data?.items ?? []), ...later.items],
    more: later.next === null ? null : more,
    change: (each) => latest.current(each),
  };
}
