/**
 * A stack in memory, for the tests of software that uses this package: no server, no network.
 *
 * ```ts
 * const stack = new FakeStack();
 * const licenseKey = stack.sell({ seats: 2, overdraft: 1 });
 * const client = new Overdraft(stack.url, { licenseKey, ...stack.options });
 * ```
 *
 * It grants, marks, denies, renews, releases and counts by the rules of the real one, signs leases, and
 * its time is yours: `stack.passTime(...)`. `stack.isDown = true` takes the network away. What it does
 * not have: what the vendor's side of the API does, overdraft periods, caps of the customer's own, and
 * more than one entitlement for each key.
 */

import { randomUUID } from "node:crypto";
import { KIND } from "./leases.js";
import { Clock, type Fetch } from "./requests.js";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const CLOCK_GRACE = 5_000;
const SHORTEST_LEASE = 60_000;
const JOURNAL = DAY - 15 * 60_000;
const AHEAD = 600_000;
const DURATION = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/;

type Json = Record<string, unknown>;

/** What is sold; times are milliseconds. */
export interface Sale {
  /** Seats that were purchased. By default 1. */
  seats?: number;
  /** More seats under the hard cap; null: there is none. By default 0. */
  overdraft?: number | null;
  /** The lease of a seat; null: until it is released. By default eight hours. */
  leaseMs?: number | null;
  /** What was purchased of each usage limit. */
  usage?: Record<string, number>;
  /** So much more under the hard cap of each usage limit; null: there is none. By default 0. */
  usageOverdraft?: number | null;
  /** For how long after a renewal software may go on with a signed lease. */
  offlineMs?: number;
  /** For how long a seat may be borrowed. */
  longestLeaseMs?: number;
  /** How many seats may be borrowed at a time. */
  mostBorrowed?: number;
}

interface Held {
  activationId: string;
  isOverdraft: boolean;
  activatedAt: number;
  leaseEnd: number | null;
  isBorrowed: boolean;
  name: string | null;
  attributes: Record<string, string>;
}

/** An entitlement of the fake; `status` may be changed at any time. */
export interface Sold {
  readonly entitlementId: string;
  readonly held: Map<string, Held>;
  readonly used: Map<string, number>;
  status: "active" | "suspended" | "expired" | "not_yet_valid";
}

interface Entitlement extends Sold {
  seats: number;
  hardCap: number | null;
  leaseMs: number | null;
  usage: Map<string, { limit: number; cap: number | null }>;
  offlineMs: number | null;
  longestLeaseMs: number;
  mostBorrowed: number;
  requests: Map<string, { at: number; quantity: number; answer: Json }>;
}

interface Signer {
  jwk: Json;
  sign(claims: Json): Promise<string>;
}

class FakeProblem extends Error {
  constructor(
    readonly type: string,
    readonly status: number,
    readonly detail = type,
    readonly more: Json = {},
  ) {
    super(detail);
  }
}

/** A stack in memory. `now` is its time, Unix milliseconds; by default the time of its making. */
export class FakeStack {
  readonly url = "https://licenses.test";
  isDown = false;
  readonly #sold = new Map<string, Entitlement>();
  #signer: Promise<Signer> | null = null;

  constructor(public now = Date.now()) {}

  // --- For tests --------------------------------------------------------------------------------

  /** Sell an entitlement; return its license key. */
  sell(sale: Sale = {}): string {
    const { seats = 1, overdraft = 0, leaseMs = 8 * HOUR, usage = {}, usageOverdraft = 0 } = sale;
    const number = String(this.#sold.size + 1).padStart(12, "0");
    const key = `lic_fake${number}.${"f".repeat(43)}`;
    const cap = (limit: number) => (usageOverdraft === null ? null : limit + usageOverdraft);
    this.#sold.set(key, {
      entitlementId: `ent_fake${number}`,
      held: new Map(),
      used: new Map(),
      status: "active",
      seats,
      hardCap: overdraft === null ? null : seats + overdraft,
      leaseMs,
      usage: new Map(
        Object.entries(usage).map(([name, limit]) => [name, { limit, cap: cap(limit) }]),
      ),
      offlineMs: sale.offlineMs ?? null,
      longestLeaseMs: sale.longestLeaseMs ?? 0,
      mostBorrowed: sale.mostBorrowed ?? 0,
      requests: new Map(),
    });
    return key;
  }

  /** What was sold with a license key. */
  of(key: string): Sold {
    const sold = this.#sold.get(key);
    if (sold === undefined) throw new Error(`nothing was sold with ${key}`);
    return sold;
  }

  /** Revoke a license key. */
  revoke(key: string): void {
    this.#sold.delete(key);
  }

  /** Let time pass. */
  passTime(ms: number): void {
    this.now += ms;
  }

  /** Options of a client of this stack: its network and its time, and nothing is stored. */
  get options(): { fetch: Fetch; clock: Clock; state: false } {
    return { fetch: this.fetch, clock: this.clock(), state: false };
  }

  /** A clock for a client: this stack's time. */
  clock(): Clock {
    return new Clock(() => this.now);
  }

  /** Free the seats whose leases have ended, as the real stack's sweep does every minute. */
  freeExpired(key: string): void {
    const sold = this.#sold.get(key);
    if (sold !== undefined) this.#free(sold);
  }

  // --- Requests ---------------------------------------------------------------------------------

  /** Answers a request, as `fetch` does. */
  readonly fetch: Fetch = async (url, init) => {
    if (this.isDown) throw new TypeError("fetch failed: the stack is down");
    const headers: Record<string, string> = {
      date: new Date(this.now).toUTCString(),
      "x-request-id": randomUUID(),
    };
    try {
      const [status, body] = await this.#route(new URL(url), init);
      if (body === null) return new Response(null, { status, headers });
      headers["content-type"] = "application/json";
      return new Response(JSON.stringify(body), { status, headers });
    } catch (error) {
      if (!(error instanceof FakeProblem)) throw error;
      headers["content-type"] = "application/problem+json";
      return new Response(JSON.stringify(problemOf(error)), { status: error.status, headers });
    }
  };

  async #route(url: URL, init: RequestInit): Promise<[number, Json | null]> {
    const path = url.pathname.split("/").slice(1).map(decodeURIComponent);
    if (url.pathname === "/.well-known/jwks.json") {
      return [200, { keys: [(await this.#signing()).jwk] }];
    }
    const headers = new Headers(init.headers);
    const [scheme, key = ""] = (headers.get("authorization") ?? "").split(" ");
    const sold = scheme === "License" ? this.#sold.get(key) : undefined;
    if (sold === undefined) {
      throw new FakeProblem("unauthorized", 401, "The key is not known, or it was revoked.");
    }
    if (url.pathname === "/v1/license") return [200, shown(sold)];
    if (path[0] !== "v1" || path[1] !== "entitlements" || path[2] !== sold.entitlementId) {
      throw new FakeProblem("not-found", 404);
    }
    const body = typeof init.body === "string" ? (JSON.parse(init.body) as Json) : {};
    const [what, which = ""] = path.slice(3);
    const once = headers.get("idempotency-key") ?? "";
    switch (`${init.method} ${what ?? ""}`) {
      case "GET ":
        return [200, shown(sold)];
      case "POST activations":
        return this.#take(sold, body);
      case "GET activations":
        return [200, page([...sold.held].map(([seatId, held]) => listed(seatId, held)))];
      case "DELETE activations":
        return release(sold, which);
      case "POST usage":
        return [200, this.#consume(sold, which, body, once)];
      case "GET usage":
        return [200, page([...sold.usage.keys()].map((name) => usageOf(sold, name)))];
      default:
        throw new FakeProblem("not-found", 404);
    }
  }

  // --- Seats ------------------------------------------------------------------------------------

  async #take(sold: Entitlement, body: Json): Promise<[number, Json]> {
    checkInForce(sold);
    const seatId = String(body.seatId);
    const period = durationOf(body.leasePeriod);
    this.#checkBorrowing(sold, seatId, period);
    const known = sold.held.get(seatId);
    const held = known ?? this.#grant(sold, seatId);
    let isWritten = known === undefined;
    if (known !== undefined && period === null && this.#isDue(sold, held)) {
      held.leaseEnd = this.#leaseEnd(sold);
      held.isBorrowed = false;
      isWritten = true;
    }
    if (period !== null && isLonger(held, this.now + period)) {
      held.leaseEnd = this.now + period;
      held.isBorrowed = true;
      isWritten = true;
    }
    held.name = (body.seatName as string | undefined) ?? null;
    held.attributes = (body.attributes as Record<string, string> | undefined) ?? {};
    const answer = activation(sold, seatId, held);
    if (body.signed) {
      const isSigned = isWritten || held.leaseEnd === null;
      answer.signedLease = isSigned ? await this.#sign(sold, answer, held) : null;
    }
    return [known === undefined ? 201 : 200, answer];
  }

  #grant(sold: Entitlement, seatId: string): Held {
    // Below that, nobody looks at leases.
    if (sold.held.size >= sold.seats) this.#free(sold);
    if (sold.hardCap !== null && sold.held.size >= sold.hardCap) throw denied(sold);
    const held: Held = {
      activationId: `act_${randomUUID().replaceAll("-", "").slice(0, 20)}`,
      isOverdraft: sold.held.size >= sold.seats,
      activatedAt: this.now,
      leaseEnd: this.#leaseEnd(sold),
      isBorrowed: false,
      name: null,
      attributes: {},
    };
    sold.held.set(seatId, held);
    return held;
  }

  #leaseEnd(sold: Entitlement): number | null {
    return sold.leaseMs === null ? null : this.now + sold.leaseMs;
  }

  #isDue(sold: Entitlement, held: Held): boolean {
    if (sold.leaseMs === null || held.leaseEnd === null) {
      return (sold.leaseMs === null) !== (held.leaseEnd === null);
    }
    const left = held.leaseEnd - this.now;
    return left < (held.isBorrowed ? sold.leaseMs : sold.leaseMs / 2);
  }

  #checkBorrowing(sold: Entitlement, seatId: string, period: number | null): void {
    if (period === null) return;
    if (sold.leaseMs === null || period <= sold.leaseMs || period > sold.longestLeaseMs) {
      const errors = [{ pointer: "/leasePeriod", detail: "cannot be given" }];
      throw new FakeProblem("invalid-request", 400, "leasePeriod cannot be given", { errors });
    }
    const isRunning = (held: Held) =>
      held.isBorrowed && (held.leaseEnd ?? 0) + CLOCK_GRACE > this.now;
    const borrowed = new Map([...sold.held].filter(([, held]) => isRunning(held)));
    if (borrowed.has(seatId) || borrowed.size < sold.mostBorrowed) return;
    throw new FakeProblem("borrow-limit-reached", 409, "As many are borrowed as may be.", {
      borrowedSeats: { used: borrowed.size, max: sold.mostBorrowed },
      nextLeaseExpiry: firstEnd(borrowed),
    });
  }

  #free(sold: Entitlement): void {
    for (const [seatId, held] of sold.held) {
      if (held.leaseEnd !== null && held.leaseEnd + CLOCK_GRACE <= this.now)
        sold.held.delete(seatId);
    }
  }

  // --- Usage ------------------------------------------------------------------------------------

  #consume(sold: Entitlement, key: string, body: Json, once: string): Json {
    const terms = sold.usage.get(key);
    if (terms === undefined)
      throw new FakeProblem("not-found", 404, "No usage limit has this key.");
    if (body.journaled) this.#checkJournaled(once);
    const quantity = Number(body.quantity);
    const known = sold.requests.get(`${key}\0${once}`);
    if (known !== undefined && known.at > this.now - DAY) {
      if (known.quantity !== quantity) throw new FakeProblem("idempotency-conflict", 409);
      return known.answer;
    }
    checkInForce(sold);
    const used = (sold.used.get(key) ?? 0) + quantity;
    if (terms.cap !== null && used > terms.cap) {
      const { status: _, ...now } = usageOf(sold, key);
      throw new FakeProblem("hard-cap-reached", 409, "The hard cap is reached.", now);
    }
    sold.used.set(key, used);
    const over = Math.min(quantity, Math.max(0, used - terms.limit));
    const more = { quantity, isOverdraft: over > 0, overdraftQuantity: over };
    const answer = { ...usageOf(sold, key), ...more };
    sold.requests.set(`${key}\0${once}`, { at: this.now, quantity, answer });
    return answer;
  }

  #checkJournaled(once: string): void {
    const madeAt = Number.parseInt(once.replaceAll("-", "").slice(0, 12), 16);
    const more = { serverTime: text(this.now) };
    if (madeAt < this.now - JOURNAL) {
      throw new FakeProblem("idempotency-key-expired", 409, "The key is too old.", more);
    }
    if (madeAt > this.now + AHEAD) {
      throw new FakeProblem("idempotency-key-in-future", 409, "The key is from the future.", more);
    }
  }

  // --- What signs -------------------------------------------------------------------------------

  #signing(): Promise<Signer> {
    this.#signer ??= import("jose").then(async ({ exportJWK, generateKeyPair, SignJWT }) => {
      const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
      const known = { alg: "ES256", use: "sig", kid: "fake" };
      return {
        jwk: { ...(await exportJWK(publicKey)), ...known },
        sign: (claims: Json) =>
          new SignJWT(claims)
            .setProtectedHeader({ alg: "ES256", kid: "fake", typ: KIND })
            .sign(privateKey),
      };
    });
    return this.#signer;
  }

  async #sign(sold: Entitlement, answer: Json, held: Held): Promise<string> {
    let until = held.leaseEnd ?? this.now + 366 * DAY;
    if (sold.offlineMs !== null) until = Math.max(until, this.now + sold.offlineMs);
    const { seatName: _, attributes: __, ...claims } = answer;
    return (await this.#signing()).sign({
      iss: this.url,
      iat: Math.floor(this.now / 1_000),
      exp: Math.floor(until / 1_000),
      ...claims,
      offlineUntil: text(until),
    });
  }
}

function checkInForce(sold: Sold): void {
  if (sold.status !== "active") {
    throw new FakeProblem(`entitlement-${sold.status.replaceAll("_", "-")}`, 403);
  }
}

function release(sold: Entitlement, activationId: string): [number, null] {
  for (const [seatId, held] of sold.held) {
    if (held.activationId === activationId) sold.held.delete(seatId);
  }
  return [204, null];
}

/** Whether it makes a difference of a minute to borrow a seat until then. */
function isLonger(held: Held, end: number): boolean {
  return !held.isBorrowed || (held.leaseEnd ?? 0) + SHORTEST_LEASE <= end;
}

function denied(sold: Entitlement): FakeProblem {
  return new FakeProblem(
    "hard-cap-reached",
    409,
    `All ${sold.hardCap} seats under the hard cap are held.`,
    { seats: seatsOf(sold), nextLeaseExpiry: firstEnd(sold.held) },
  );
}

function firstEnd(held: Map<string, Held>): string | null {
  const ends = [...held.values()].map((each) => each.leaseEnd ?? Number.POSITIVE_INFINITY);
  const first = Math.min(...ends);
  return first === Number.POSITIVE_INFINITY ? null : text(first);
}

function activation(sold: Entitlement, seatId: string, held: Held): Json {
  return {
    ...seat(seatId, held),
    entitlementId: sold.entitlementId,
    status: statusOf(sold.held.size, sold.seats),
    seats: seatsOf(sold),
    overdraft: null,
  };
}

function listed(seatId: string, held: Held): Json {
  return { ...seat(seatId, held), seatKey: "k".repeat(12), lastSeenAt: text(held.activatedAt) };
}

function seat(seatId: string, held: Held): Json {
  return {
    activationId: held.activationId,
    seatId,
    seatName: held.name,
    attributes: held.attributes,
    isOverdraftSeat: held.isOverdraft,
    isBorrowed: held.isBorrowed,
    activatedAt: text(held.activatedAt),
    leaseExpiry: text(held.leaseEnd),
  };
}

function usageOf(sold: Entitlement, key: string): Json {
  const { limit, cap } = sold.usage.get(key) ?? { limit: 0, cap: 0 };
  const used = sold.used.get(key) ?? 0;
  return {
    key,
    status: statusOf(used, limit),
    usage: numbers(used, limit, cap),
    periodStart: text(0),
    periodEnd: null,
  };
}

function shown(sold: Entitlement): Json {
  return {
    entitlementId: sold.entitlementId,
    status: sold.status,
    product: "Test product",
    seats: seatsOf(sold),
    validUntil: null,
  };
}

function seatsOf(sold: Entitlement): Json {
  return numbers(sold.held.size, sold.seats, sold.hardCap);
}

function numbers(used: number, purchased: number, cap: number | null): Json {
  return {
    used,
    purchased,
    hardCap: cap,
    overdraftUsed: Math.max(0, used - purchased),
    available: cap === null ? null : Math.max(0, cap - used),
  };
}

function statusOf(used: number, purchased: number): string {
  if (used > purchased) return "overdraft";
  return used === purchased ? "at_limit" : "within_limit";
}

function page(items: Json[]): Json {
  return { items, nextPageToken: null };
}

function problemOf(error: FakeProblem): Json {
  return {
    type: `https://overdraft.example/problems/${error.type}`,
    title: error.type,
    status: error.status,
    detail: error.detail,
    instance: randomUUID(),
    ...error.more,
  };
}

function text(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}

/** The milliseconds of a period of ISO 8601, in weeks to seconds. */
function durationOf(period: unknown): number | null {
  const match = typeof period === "string" ? DURATION.exec(period) : null;
  if (match === null) return null;
  const units = [7 * DAY, DAY, HOUR, 60_000, 1_000];
  return units.reduce((sum, unit, index) => sum + Number(match[index + 1] ?? 0) * unit, 0);
}
