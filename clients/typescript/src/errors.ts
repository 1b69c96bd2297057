/**
 * What can come of a request besides the answer.
 *
 * `Refused` is an answer: the stack has decided, and asking again changes nothing by itself. Only an
 * `application/problem+json` of the stack's own types is one: the page of a proxy, a firewall or a
 * hotel's network is not. `Unavailable` is no answer.
 */

import type { BorrowedSeats, Contact, Seats, Usage } from "./models.js";

const TYPE_PREFIX = "https://overdraft.example/problems/";

/** The body of a problem (RFC 9457), with the members of its type. */
export type Problem = { type: string } & Record<string, unknown>;

/** Every error of this package. */
export class OverdraftError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** The stack could not be reached, or could not say anything, within the bounded retries. */
export class Unavailable extends OverdraftError {
  /** @param reason For a log: the last failure. */
  constructor(readonly reason: string) {
    super(`the license server is unavailable: ${reason}`);
  }
}

/** The stack has said no. `type` is the end of the problem's type, such as `not-found`. */
export class Refused extends OverdraftError {
  readonly type: string;
  readonly status: number;
  /** What support asks for. */
  readonly requestId: string;

  constructor(readonly problem: Problem) {
    super(String(problem.detail ?? problem.title ?? problem.type));
    this.type = problem.type.slice(TYPE_PREFIX.length);
    this.status = typeof problem.status === "number" ? problem.status : 0;
    this.requestId = String(problem.instance ?? "");
  }
}

/**
 * Nothing is free below a limit. The attempt is on record, and sales may know of it.
 *
 * `type` says which limit: `hard-cap-reached`, `overdraft-period-ended` or `customer-cap-reached`.
 */
export class Denied extends Refused {
  /** The seats in use, against both limits. */
  get seats(): Seats | null {
    return (this.problem.seats as Seats | undefined) ?? null;
  }

  /** What is used of the usage limit, against both limits. */
  get usage(): Usage | null {
    return (this.problem.usage as Usage | undefined) ?? null;
  }

  /** When the next lease ends, so that a seat may be free. */
  get nextLeaseExpiry(): Date | null {
    return dateOf(this.problem.nextLeaseExpiry);
  }

  /** Whom to ask for more, if the vendor wants that. */
  get contact(): Contact | null {
    return (this.problem.contact as Contact | undefined) ?? null;
  }

  /** Where to ask for more, if the vendor wants that. */
  get requestUrl(): string | null {
    return (this.problem.requestUrl as string | undefined) ?? null;
  }
}

/** As many seats are borrowed as may be. A seat with the usual lease may be free. */
export class BorrowLimitReached extends Refused {
  get borrowedSeats(): BorrowedSeats {
    return this.problem.borrowedSeats as BorrowedSeats;
  }
}

/** The vendor has suspended the entitlement. */
export class Suspended extends Refused {}

/** The entitlement's validity has ended. */
export class Expired extends Refused {}

/** The entitlement's validity has not begun. */
export class NotYetValid extends Refused {}

/** The key is not known, or was revoked. */
export class Unauthorized extends Refused {}

/** The key is known and may not do this. */
export class Forbidden extends Refused {}

/** There is no such thing, or this key may not see it. */
export class NotFound extends Refused {}

/** The request breaks the contract: a defect of the caller. */
export class Invalid extends Refused {
  /** What is wrong, each with a `pointer` and a `detail`. */
  get errors(): { pointer: string; detail: string }[] {
    return (this.problem.errors as { pointer: string; detail: string }[] | undefined) ?? [];
  }
}

/** The key of a request was used before, with another quantity. */
export class IdempotencyConflict extends Refused {}

/** The key of a journaled request is too old: whether it was counted is not known any more. */
export class TooLate extends Refused {}

/** This machine's clock is far ahead of the stack's. */
export class ClockAhead extends Refused {
  /** The stack's time. */
  get serverTime(): Date | null {
    return dateOf(this.problem.serverTime);
  }
}

const KINDS: Record<string, typeof Refused> = {
  "hard-cap-reached": Denied,
  "overdraft-period-ended": Denied,
  "customer-cap-reached": Denied,
  "borrow-limit-reached": BorrowLimitReached,
  "entitlement-suspended": Suspended,
  "entitlement-expired": Expired,
  "entitlement-not-yet-valid": NotYetValid,
  unauthorized: Unauthorized,
  "link-expired": Unauthorized,
  forbidden: Forbidden,
  "not-found": NotFound,
  "invalid-request": Invalid,
  "idempotency-conflict": IdempotencyConflict,
  "idempotency-key-expired": TooLate,
  "idempotency-key-in-future": ClockAhead,
};

/** Problems that pass by themselves: the same request may be sent again. */
const PASSING = new Set(["contention", "unavailable", "throttled", "internal"]);

/** The refusal in the body of an answer; null: it is no problem of the stack's own types. */
export function refusalIn(body: unknown): Refused | null {
  const type = (body as { type?: unknown } | null)?.type;
  if (typeof type !== "string" || !type.startsWith(TYPE_PREFIX)) return null;
  const name = type.slice(TYPE_PREFIX.length);
  if (PASSING.has(name)) return null;
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  return new (kind ?? Refused)(body as Problem);
}

function dateOf(text: unknown): Date | null {
  return typeof text === "string" ? new Date(text) : null;
}
