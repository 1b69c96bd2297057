/**
 * Webhooks: check that an event is the stack's, and read it. Needs the package `standardwebhooks`.
 *
 * ```ts
 * const event = await parse(body, request.headers, "whsec_…"); // the body as it was received
 * ```
 *
 * In a Lambda function behind EventBridge nothing has to be checked: `eventOf(event.detail)`. An event
 * may come more than once: its `id` is the same then.
 */

import { OverdraftError } from "./errors.js";
import type { Seats, Usage } from "./models.js";

/** It is not signed with this secret, or it is more than five minutes old: answer 400. */
export class InvalidSignature extends OverdraftError {}

/** An event. `data` has all of its members; the others are what most handlers look at. */
export interface Event {
  id: string;
  type: string;
  timestamp: Date;
  data: Record<string, unknown>;
  /** The entitlement that it is about; a report is about none. */
  entitlementId: string | null;
  /** Your own id of the entitlement. */
  externalId: string | null;
  /** The customer's name. */
  customer: string | null;
  /** The seats in use after it. */
  seats: Seats | null;
  /** What is used of the usage limit after it. */
  usage: Usage | null;
  /** Whether somebody only tried the endpoint. */
  isTest: boolean;
}

/** Headers as `fetch`, Node.js and frameworks have them. */
export type GivenHeaders = Headers | Record<string, string | string[] | undefined>;

/**
 * The event in the body of a webhook, once its signature was checked (Standard Webhooks).
 *
 * @param body What was received, unchanged.
 * @param secret It begins with `whsec_`.
 * @throws InvalidSignature
 * @throws TypeError It is signed, and no event.
 */
export async function parse(
  body: string | Uint8Array,
  headers: GivenHeaders,
  secret: string,
): Promise<Event> {
  const { Webhook } = await import("standardwebhooks");
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const pairs = headers instanceof Headers ? [...headers] : Object.entries(headers);
  const given = Object.fromEntries(
    pairs.map(([name, value]) => [name.toLowerCase(), String(value)]),
  );
  const webhook = new Webhook(secret); // a secret that is none is a defect of the caller
  try {
    webhook.verify(text, given);
  } catch (error) {
    throw new InvalidSignature(String(error));
  }
  return eventOf(JSON.parse(text));
}

/** An event from its JSON: the body of a webhook, or the `detail` of EventBridge. */
export function eventOf(given: unknown): Event {
  const { id, type, timestamp, data } = given as Record<string, unknown>;
  if (typeof id !== "string" || typeof type !== "string" || !isObject(data)) {
    throw new TypeError("no event: it has no id, type or data");
  }
  const customer = isObject(data.customer) ? data.customer.name : null;
  const usage = isObject(data.usage) && "used" in data.usage ? data.usage : null;
  return {
    id,
    type,
    timestamp: new Date(String(timestamp)),
    data,
    entitlementId: (data.entitlementId as string | undefined) ?? null,
    externalId: (data.externalId as string | undefined) ?? null,
    customer: (customer as string | undefined) ?? null,
    seats: isObject(data.seats) ? (data.seats as unknown as Seats) : null,
    usage: usage as unknown as Usage | null,
    isTest: data.test === true,
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
