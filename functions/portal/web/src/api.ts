// The API as this page uses it, with the token that came in the link's fragment.

import { now, setNow } from "./clock";
import { language } from "./language";
import { t } from "./messages";

export interface Use {
  used: number;
  purchased: number;
  hardCap: number | null;
  overdraftUsed: number;
  available: number | null;
}
export interface UsageLimit {
  key: string;
  resetSchedule: "monthly" | "on_renewal" | "never";
  status: "within_limit" | "at_limit" | "overdraft";
  usage: Use;
  overdraft: Clock | null;
  /** A cap that the customer has set, below the hard cap. */
  customerCap: number | null;
  periodStart: string;
  periodEnd: string | null;
}
/** The clock of an overdraft that may only last for a time. */
export interface Clock {
  since: string;
  endsAt: string;
  recoversAt: string | null;
}
export interface Portal {
  entitlementId: string;
  product: string;
  sku: string | null;
  customer: string;
  accountOwner: string | null;
  status: "active" | "suspended" | "expired" | "not_yet_valid" | "deleted";
  validFrom: string | null;
  validUntil: string | null;
  /** Who is mailed when more seats are requested. */
  requestsReach: "account_owner" | "vendor" | "nobody";
  supportEmail: string | null;
  timeZone: string;
  leasePeriod: string | null;
  seats: Use | null;
  overdraft: Clock | null;
  customerCap: number | null;
  usage: UsageLimit[];
  /** Whether what overdraft costs may be read. */
  showsCharges: boolean;
  role: "viewer" | "admin";
  /** Whether the link shows nobody's name. */
  hidesNames: boolean;
  expiresAt: string;
  asOf: string;
  version: string;
}
export interface Limits {
  from: string;
  purchased: number;
  hardCap: number | null;
}
export interface Graph {
  usageKey: string | null;
  from: string;
  to: string;
  interval: "PT15M" | "PT1H" | "P1D";
  asOf: string;
  /** When each interval begins. */
  starts: string[];
  lowest: (number | null)[];
  highest: (number | null)[];
  closing: (number | null)[];
  overdraftSeconds: (number | null)[];
  demand: (number | null)[];
  sections: { from: string; highest: number; overdraftSeconds: number }[];
  limits: Limits[];
  denials: { from: string; to: string; attempts: number; people: number | null }[];
}
export interface Denials {
  usageKey: string | null;
  from: string;
  to: string;
  isComplete: boolean;
  attempts: number;
  people: number;
  quantity: number | null;
  days: { date: string; attempts: number; people: number | null }[];
  persons: {
    seatKey: string;
    seatId: string | null;
    seatName: string | null;
    attempts: number;
    firstAt: string;
    lastAt: string;
  }[];
}
export interface HeldSeat {
  activationId: string;
  seatKey: string;
  seatId: string | null;
  seatName: string | null;
  attributes: Record<string, string>;
  isOverdraftSeat: boolean;
  isBorrowed: boolean;
  activatedAt: string;
  lastSeenAt: string;
  leaseExpiry: string | null;
}
export interface SeatRequest {
  requestId: string;
  seats: number | null;
  usageKey: string | null;
  quantity: number | null;
  message: string | null;
  requester: string | null;
  requestedAt: string;
  status: "open" | "answered" | "declined";
  note: string | null;
  answeredAt: string | null;
}
/** A member before and after a change. */
export interface Values {
  before: unknown;
  after: unknown;
}
/** A change that somebody made; `actor` null: the vendor. */
export interface Change {
  changeId: string;
  at: string;
  type: string;
  actor: string | null;
  subjectId: string | null;
  subjectName: string | null;
  changes: Record<string, Values>;
}
export interface Crossing {
  limit: number;
  status: "met" | "expected" | "not_expected";
  date: string | null;
  earliest: string | null;
  latest: string | null;
}
export interface Forecast {
  usageKey: string | null;
  status: "ready" | "insufficient_data";
  unit: "weeks" | "days";
  known: number;
  needed: number;
  includesDenied: boolean;
  perWeek: number | null;
  perWeekLow: number | null;
  perWeekHigh: number | null;
  purchased: Crossing | null;
  hardCap: Crossing | null;
}

/** An answer that is not the one asked for; `kind` is the end of the problem's type. */
export class Failure extends Error {
  constructor(
    readonly kind: string,
    message: string,
    readonly retryAfter: number,
  ) {
    super(message);
  }
}

const TIMEOUT_MS = 15_000;
const root = document.documentElement.dataset.root ?? "";

/** The token of the link that was opened; empty without one. */
export function token(): string {
  return location.hash.slice(1);
}

async function send(method: string, path: string, body?: unknown, key?: string): Promise<Response> {
  const headers: Record<string, string> = { authorization: `Portal ${token()}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers["idempotency-key"] = key;
  let answer: Response;
  try {
    answer = await fetch(root + path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
      credentials: "omit",
      cache: "no-store",
    });
  } catch {
    throw new Failure("unreachable", t.noAnswer, 0);
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const kind =
    String(problem.type ?? `status-${answer.status}`)
      .split("/")
      .at(-1) ?? "";
  const wait = Number(answer.headers.get("retry-after")) || 0;
  throw new Failure(kind, sayOf(kind, problem.detail), wait);
}

/** What to say of a problem. The service itself speaks English. */
function sayOf(kind: string, detail: unknown): string {
  if (language === "en") return String(detail ?? t.failed);
  return kind === "throttled" ? t.tooManyRequests : t.failed;
}

async function get<T>(path: string, query: Record<string, string | null> = {}): Promise<T> {
  const given = Object.entries(query).filter((each): each is [string, string] => each[1] !== null);
  const text = new URLSearchParams(given).toString();
  return (await send("GET", text ? `${path}?${text}` : path)).json();
}

/** How it stands now; sets the clock. */
export async function readPortal(): Promise<Portal> {
  const portal = await get<Portal>("v1/portal");
  setNow(Date.parse(portal.asOf));
  return portal;
}

export const readGraph = (usageKey: string | null, from: number, to: number) =>
  get<Graph>("v1/portal/graph", { usageKey, from: rfc3339(from), to: rfc3339(to) });

export const readDenials = (usageKey: string | null = null) =>
  get<Denials>("v1/portal/denials", { usageKey });

export const readForecast = (usageKey: string | null) =>
  get<Forecast>("v1/portal/forecast", { usageKey });

/** Some of the seats held, and where the next ones are. */
export interface SeatPage {
  items: HeldSeat[];
  nextPageToken: string | null;
}

/** A page of the seats held, or of those whose holder's id begins with `search`. */
export const readSeatPage = (limit: number, pageToken: string | null, search: string) =>
  get<SeatPage>("v1/portal/seats", { limit: String(limit), pageToken, search: search || null });

const PATIENCE = 5;

/** Ask again where the service says that it is too often. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      const isTooOften = error instanceof Failure && error.kind === "throttled";
      if (!isTooOften || tries === PATIENCE) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 5)));
    }
  }
}

/** Every seat held, page by page; `progress` gets their number so far. */
export async function readSeats(
  progress: (number: number) => void = () => {},
): Promise<HeldSeat[]> {
  const seats: HeldSeat[] = [];
  let pageToken: string | null = null;
  do {
    const token: string | null = pageToken;
    const page: SeatPage = await patiently(() => readSeatPage(100, token, ""));
    seats.push(...page.items);
    progress(seats.length);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return seats;
}

export const releaseSeat = (entitlementId: string, activationId: string) =>
  send("DELETE", `v1/entitlements/${entitlementId}/activations/${activationId}`);

/** Set, change or remove the customer's own cap. */
export const setCap = (entitlementId: string, usageKey: string | null, cap: number | null) =>
  send("PATCH", `v1/entitlements/${entitlementId}/customer-cap`, { usageKey, cap });

export const requestMore = (
  entitlementId: string,
  body: Record<string, string | number>,
  key: string,
) => send("POST", `v1/entitlements/${entitlementId}/seat-requests`, body, key);

/** What was in use, against what was purchased. */
interface ChargedLevel {
  used: number;
  purchased: number;
}
/** One step of what a month costs. */
export interface ChargePart {
  what: "peak" | "day" | "period" | "increase";
  day: string;
  level: ChargedLevel;
  opening: ChargedLevel | null;
  free: number;
  chargedBefore: number;
  quantity: number;
  basis: "peak_seats" | "seat_days" | "units";
  charge: "by_month" | "to_end_of_term";
  unitAmount: string;
  factor: string;
}
/** What the seats, or a usage limit, cost in a month. */
export interface ChargeLine {
  lineId: string;
  usageKey: string | null;
  month: string;
  currency: string;
  amount: string;
  expectedAmount: string;
  isMinimum: boolean;
  parts: ChargePart[];
  decision: {
    decision: "billed" | "waived" | "disputed" | null;
    reference: string | null;
    amount: string;
  } | null;
}
export interface TrueUp {
  period: { name: string; from: string; to: string };
  asOf: string;
  isFinal: boolean;
  totals: { currency: string; amount: string; expectedAmount: string }[];
  lines: ChargeLine[];
}

/** What overdraft costs in a month, `YYYY-MM`. */
export const readTrueUp = (entitlementId: string, period: string) =>
  get<TrueUp>(`v1/entitlements/${entitlementId}/true-up`, { period });

/** The newest requests for more. */
export const readRequests = async (entitlementId: string): Promise<SeatRequest[]> =>
  (
    await get<{ items: SeatRequest[] }>(`v1/entitlements/${entitlementId}/seat-requests`, {
      limit: "50",
    })
  ).items;

const CHANGES_MS = 90 * 86_400_000;

/** The changes of the last 90 days, newest first, at most a hundred. */
export const readChanges = async (entitlementId: string): Promise<Change[]> =>
  (
    await get<{ items: Change[] }>(`v1/entitlements/${entitlementId}/changes`, {
      from: rfc3339(now() - CHANGES_MS),
      limit: "100",
    })
  ).items;

function rfc3339(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}
