// The API as the console uses it, with the session of whoever signed in.

import { setNow } from "../clock";
import { t } from "./messages";
import { credential, endSession } from "./session";
import type { Page } from "./types";

/** What is wrong with one member of a body; `pointer` as in RFC 6901. */
export interface Wrong {
  pointer?: string;
  detail: string;
}

/** An answer that is not the one asked for; `kind` is the end of the problem's type. */
export class Failure extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly status: number,
    readonly errors: Wrong[] = [],
  ) {
    super(message);
  }
}

/** What the page itself has to say, in the reader's language. */
export class Said extends Error {}

export type Query = Record<string, string | number | boolean | null | undefined>;
interface Options {
  query?: Query;
  body?: unknown;
  /** The version that is changed: another one is refused. */
  etag?: string | null;
  /** Makes repeating a POST safe. */
  key?: string;
  signal?: AbortSignal;
}
export interface Answer<T> {
  data: T;
  etag: string | null;
}

const TIMEOUT_MS = 30_000;
const TRIES = 3;
const pending = new Set<object>();
let onPending: (number: number) => void = () => {};

/** Call back with the number of calls that wait for their answers. */
export function watchPending(listener: (number: number) => void): void {
  onPending = listener;
}

function withQuery(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}?${text}` : path;
}

/** Call the API. Whoever may be answered twice is asked again when the service is busy. */
export async function call<T>(
  method: string,
  path: string,
  options: Options = {},
): Promise<Answer<T>> {
  const mark = {};
  pending.add(mark);
  onPending(pending.size);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await send<T>(method, path, options);
      } catch (error) {
        const mayRepeat = method !== "POST" || options.key !== undefined;
        const isBusy = error instanceof Failure && error.status === 503;
        if (!isBusy || !mayRepeat || attempt === TRIES) throw error;
        await new Promise((go) => setTimeout(go, 400 * attempt));
      }
    }
  } finally {
    pending.delete(mark);
    onPending(pending.size);
  }
}

async function send<T>(method: string, path: string, options: Options): Promise<Answer<T>> {
  const headers: Record<string, string> = {};
  const session = credential();
  if (session) headers.authorization = `Session ${session}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  if (options.etag) headers["if-match"] = options.etag;
  if (options.key) headers["idempotency-key"] = options.key;
  const signals = [AbortSignal.timeout(TIMEOUT_MS), ...(options.signal ? [options.signal] : [])];
  let answer: Response;
  try {
    answer = await fetch(withQuery(path, options.query), {
      method,
      headers,
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal: AbortSignal.any(signals),
      credentials: "omit",
      cache: "no-store",
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Failure("unreachable", t.unreachable, 0);
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (date) setNow(date);
  if (answer.ok) {
    const data = answer.status === 204 ? undefined : await answer.json();
    return { data: data as T, etag: answer.headers.get("etag") };
  }
  const problem = await answer.json().catch(() => ({}));
  const kind =
    String(problem.type ?? `status-${answer.status}`)
      .split("/")
      .at(-1) ?? "";
  if (kind === "unauthorized" && session) endSession();
  throw new Failure(kind, String(problem.detail ?? t.failed), answer.status, problem.errors);
}

/** What an answer is. */
export const read = async <T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> =>
  (await call<T>("GET", path, { query, ...(signal ? { signal } : {}) })).data;

export const post = async <T>(path: string, body: unknown = {}): Promise<T> =>
  (await call<T>("POST", path, { body, key: crypto.randomUUID() })).data;

/** Every page of a list, up to so many items. */
export async function readAll<T>(path: string, query: Query, most: number): Promise<T[]> {
  const found: T[] = [];
  let pageToken: string | null = null;
  do {
    const page: Page<T> = await read(path, { ...query, limit: 100, pageToken });
    found.push(...page.items);
    pageToken = page.nextPageToken;
  } while (pageToken && found.length < most);
  return found;
}
