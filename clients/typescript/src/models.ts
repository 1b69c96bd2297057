/** What the stack answers, with the types of its description. Members added later are ignored. */

import { Unavailable } from "./errors.js";
import type { components } from "./generated/api.js";

type Schemas = components["schemas"];

/** A seat that is held. `leaseExpiry` null: until it is released. */
export type Activation = Omit<Schemas["Activation"], "activationId"> & { activationId: string };
/** Seats in use, against both limits. `hardCap` null: there is none. */
export type Seats = Schemas["Seats"];
/** A seat in the list of those that are held. */
export type HeldSeat = Schemas["ActivationList"]["items"][number];
/** What a request consumed of a usage limit, and the usage with it. */
export type Consumption = Schemas["Consumption"];
/** A usage limit in its current period. */
export type UsageLimit = Schemas["UsageList"]["items"][number];
/** Use of a usage limit in its period, against both limits. */
export type Usage = UsageLimit["usage"];
/** What was sold: its limits and terms. */
export type Entitlement = Schemas["Entitlement"];
/** A public key of signed leases. */
export type LeaseKey = Schemas["LeaseKeys"]["keys"][number];

/** Whom to ask for more. */
export interface Contact {
  name?: string | null;
  email?: string | null;
  phone?: string | null;
}

/** How many seats are borrowed, and how many may be. */
export interface BorrowedSeats {
  used: number;
  max: number;
}

type Kind = "string" | "number" | "boolean" | "object" | "time" | "list";
type Shape = Record<string, Kind | `${Kind}?`>;

const SEATS: Shape = { used: "number", purchased: "number", hardCap: "number?" };
const ACTIVATION: Shape = {
  activationId: "string",
  entitlementId: "string",
  seatId: "string",
  isOverdraftSeat: "boolean",
  leaseExpiry: "time?",
  status: "string",
  seats: "object",
};

/**
 * The body of an answer, if it has what this package reads of it.
 *
 * @throws Unavailable It is JSON, and not what the stack answers: a captive portal's, or a defect.
 */
function read<T>(body: unknown, shape: Shape): T {
  if (typeof body !== "object" || body === null) throw foreign("it is no object");
  for (const [name, expected] of Object.entries(shape)) {
    const value = (body as Record<string, unknown>)[name];
    const kind = expected.replace("?", "") as Kind;
    const isMissing = value === null && expected.endsWith("?");
    if (!isMissing && !fits(value, kind)) throw foreign(name);
  }
  return body as T;
}

function fits(value: unknown, kind: Kind): boolean {
  if (kind === "list") return Array.isArray(value);
  if (kind === "object") return typeof value === "object" && value !== null;
  return kind === "time" ? timeOf(value) !== null : typeof value === kind;
}

function foreign(what: string): Unavailable {
  return new Unavailable(`not an answer of the stack: ${what}`);
}

/** A time of the API in Unix milliseconds; null: it is none. */
export function timeOf(text: unknown): number | null {
  const time = typeof text === "string" ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? null : time;
}

export function readActivation(body: unknown): Activation {
  const activation = read<Activation>(body, ACTIVATION);
  read(activation.seats, SEATS);
  return activation;
}

export function readConsumption(body: unknown): Consumption {
  const consumption = read<Consumption>(body, { key: "string", quantity: "number" });
  read(consumption.usage, SEATS);
  return consumption;
}

export function readEntitlement(body: unknown): Entitlement {
  return read(body, { entitlementId: "string", status: "string", product: "string" });
}

export function readPage<T>(body: unknown): { items: T[]; nextPageToken: string | null } {
  return read(body, { items: "list", nextPageToken: "string?" });
}

export function readKeys(body: unknown): LeaseKey[] {
  return read<{ keys: LeaseKey[] }>(body, { keys: "list" }).keys;
}
