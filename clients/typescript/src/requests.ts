/** Requests: what to make of an answer, when to send one again, and the stack's time. */

import { randomUUID } from "node:crypto";
import { Refused, refusalIn, Unavailable } from "./errors.js";
import { VERSION } from "./version.js";

const PROBLEM = "application/problem+json";
const RETRIED = new Set([408, 425, 429]);
const ANSWERED = new Set([200, 201, 202]);
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** `fetch`, or what stands for it: a proxy's, or a stack in memory. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** One request of the API; `path` begins with a slash. */
export interface Request {
  method: string;
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/**
 * How long to try. Every request of this package may be repeated without counting twice.
 *
 * `attempts` of at most `timeoutMs` each, and none begins later than `totalMs` after the first.
 * Between them there are random waits, of up to `baseMs`, then twice that, and so on up to
 * `longestMs`; or what `Retry-After` says, if that is within `totalMs`.
 */
export interface Retry {
  attempts: number;
  timeoutMs: number;
  totalMs: number;
  baseMs: number;
  longestMs: number;
}

const RETRY: Retry = {
  attempts: 4,
  timeoutMs: 5_000,
  totalMs: 12_000,
  baseMs: 200,
  longestMs: 3_000,
};

/**
 * The stack's time; it never goes back by itself.
 *
 * From the latest time that was seen, also by an earlier process, it goes on as the machine's
 * monotonic clock does, whatever the other one is set to: so a clock that is set back makes no lease
 * longer, and holds no renewal up.
 */
export class Clock {
  #offsetMs = 0;
  #latestMs = 0;
  #seenAt = performance.now();

  /** @param localMs This machine's time, Unix milliseconds. */
  constructor(private readonly localMs: () => number = Date.now) {}

  /** Unix milliseconds. */
  now(): number {
    const passed = performance.now() - this.#seenAt;
    return this.#see(Math.max(this.localMs() + this.#offsetMs, this.#latestMs + passed));
  }

  /** Correct the clock by an answer. `Date` has whole seconds, so small differences stay. */
  observe(headers: Headers): void {
    const date = httpDate(headers.get("date") ?? "");
    if (date === null) return;
    const difference = date + 500 - this.localMs();
    this.#offsetMs = Math.abs(difference) > 2_000 ? difference : 0;
    // What the stack says counts, whatever was believed before.
    this.#see(this.localMs() + this.#offsetMs);
  }

  /** It is at least as late as an earlier process saw. */
  atLeast(ms: number): void {
    if (ms > this.#latestMs) this.#see(ms);
  }

  #see(ms: number): number {
    this.#latestMs = Math.floor(ms);
    this.#seenAt = performance.now();
    return this.#latestMs;
  }
}

/** How requests are sent. */
export interface SenderOptions {
  retry?: Partial<Retry>;
  clock?: Clock;
  fetch?: Fetch;
}

/** Sends requests to one stack, with one credential, until it has answered them. */
export class Sender {
  readonly url: string;
  readonly clock: Clock;
  private readonly headers: Record<string, string>;
  private readonly retry: Retry;
  private readonly fetch: Fetch;

  /** @throws TypeError The address or the key is none. */
  constructor(url: string, scheme: "Bearer" | "License", key: unknown, options: SenderOptions) {
    this.url = checkedUrl(url);
    this.headers = {
      authorization: `${scheme} ${checkedKey(key)}`,
      "user-agent": `overdraft-client/${VERSION} (javascript)`,
    };
    this.retry = { ...RETRY, ...options.retry };
    this.clock = options.clock ?? new Clock();
    this.fetch = options.fetch ?? fetch;
  }

  /**
   * The JSON of the stack's answer, null without one, and its headers.
   *
   * @throws Refused The stack has said no.
   * @throws Unavailable It has not answered, or something else has.
   */
  async send(request: Request): Promise<{ body: unknown; headers: Headers }> {
    const url = this.url + request.path;
    const init = this.#init(request);
    const began = performance.now();
    let reason = "no attempt";
    for (let attempt = 0; attempt < this.retry.attempts; attempt++) {
      let wanted: number | null = null;
      try {
        const signal = AbortSignal.timeout(this.retry.timeoutMs);
        const answer = await this.fetch(url, { ...init, signal });
        const body = await json(answer);
        const refusal = answer.status < 500 && isProblem(answer) ? refusalIn(body) : null;
        // Others answer 204, and JSON, as well; only the stack's answers have an id.
        if (answer.headers.has("x-request-id") && (refusal !== null || isAnswer(answer, body))) {
          this.clock.observe(answer.headers);
        }
        if (refusal !== null) throw refusal;
        if (isAnswer(answer, body)) return { body, headers: answer.headers };
        reason = `HTTP ${answer.status}`;
        // The page of a proxy or a hotel's network will not go away in a second.
        if (answer.status < 500 && !RETRIED.has(answer.status)) break;
        wanted = retryAfter(answer.headers);
      } catch (error) {
        if (error instanceof Refused) throw error;
        const { cause } = error as Error;
        reason = cause === undefined ? String(error) : `${error}: ${cause}`;
      }
      const { baseMs, longestMs, totalMs } = this.retry;
      const wait = (wanted ?? 0) + Math.random() * Math.min(longestMs, baseMs * 2 ** attempt);
      const isLast = attempt + 1 === this.retry.attempts;
      if (isLast || performance.now() - began + wait > totalMs) break;
      await pause(wait);
    }
    throw new Unavailable(reason);
  }

  /** @throws TypeError The caller gave something that is no JSON. */
  #init(request: Request): RequestInit {
    const headers = { ...this.headers, ...request.headers };
    if (request.body === undefined) return { method: request.method, headers, redirect: "manual" };
    return {
      method: request.method,
      headers: { "content-type": "application/json", ...headers },
      redirect: "manual",
      body: JSON.stringify(request.body),
    };
  }
}

/**
 * A value as a part of a path.
 *
 * @throws RangeError It would name another path.
 */
export function segment(value: unknown): string {
  const text = value === undefined || value === null ? "" : String(value);
  if (text === "" || text === "." || text === "..") {
    throw new RangeError(`${JSON.stringify(text)} is no id`);
  }
  return encodeURIComponent(text);
}

/**
 * The address of a stack, without a slash at its end.
 *
 * @throws TypeError It is none. What it says is not repeated: it may have a password.
 */
function checkedUrl(url: string): string {
  let parsed: URL | null = null;
  try {
    parsed = new URL(url);
  } catch {
    // Said below.
  }
  if (parsed === null || !["http:", "https:"].includes(parsed.protocol)) {
    throw new TypeError("the address of a stack begins with https://");
  }
  if (parsed.username !== "" || parsed.password !== "") {
    throw new TypeError("the address of a stack has no user name and no password");
  }
  return url.replace(/\/+$/, "");
}

/**
 * A key, as it may be in a header.
 *
 * @throws TypeError It has other characters. It is not repeated: it is a secret.
 */
function checkedKey(key: unknown): string {
  if (typeof key !== "string" || !/^[!-~]+$/.test(key)) {
    throw new TypeError("the key is empty, or has characters that no key has");
  }
  return key;
}

async function json(answer: Response): Promise<unknown> {
  const text = await answer.text();
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function isProblem(answer: Response): boolean {
  const type = answer.headers.get("content-type") ?? "";
  return type.split(";")[0]?.trim().toLowerCase() === PROBLEM;
}

/** Whether an answer is one of the stack's: what a captive portal answers is no JSON object. */
function isAnswer(answer: Response, body: unknown): boolean {
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
  return answer.status === 204 || (ANSWERED.has(answer.status) && isObject);
}

/** The milliseconds of a `Retry-After` header (RFC 9110, section 10.2.3). */
function retryAfter(headers: Headers): number | null {
  const text = headers.get("retry-after")?.trim() ?? "";
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000;
  const date = httpDate(text);
  return date === null ? null : Math.max(0, date - Date.now());
}

/** Unix milliseconds of a date of HTTP (RFC 9110, section 5.6.7); null: it is none. */
function httpDate(text: string): number | null {
  const date = HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : date;
}

/** A pause. It keeps the process alive: somebody waits for what comes after it. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** A UUIDv7 (RFC 9562, section 5.7): its time lets the stack answer in one round trip. */
export function uuid7(ms: number): string {
  // Version 4 has its random bits where version 7 has them.
  const random = randomUUID();
  const time = Math.floor(ms).toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${random.slice(15)}`;
}
