/**
 * What a kept seat is worth at a moment, and when it is to be renewed: no network, no timer, no clock.
 *
 * Times are Unix milliseconds by the stack's clock (see `Clock`).
 */

import { Denied, Expired, type Refused, Suspended } from "./errors.js";
import type { SignedLease } from "./leases.js";
import { type Activation, timeOf } from "./models.js";

/** What a seat is worth while the stack is out of reach. */
export type OfflinePolicy = "grace" | "deny" | "allow";

/** By whose word a seat may be used. */
export type Source = "server" | "lease" | "policy";

/**
 * What has changed about a kept seat.
 *
 * `overdraft`, `within`: the customer uses more than was purchased, or no longer. `offline`,
 * `online`: the stack is out of reach, or in reach again. `denied`, `suspended`, `expired`,
 * `refused`: the stack has said no (`error`), and the seat must not be used. `lost`: it must not be
 * used, because the stack was out of reach for too long.
 */
export interface Change {
  kind:
    | "overdraft"
    | "within"
    | "offline"
    | "online"
    | "denied"
    | "suspended"
    | "expired"
    | "refused"
    | "lost";
  error?: Refused;
}

// Without a lease nothing has to be renewed. It is asked all the same, to see a suspension.
const WITHOUT_LEASE_MS = 3_600_000;
const SHORTEST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;

/** A random time between two. */
function between(shortest: number, longest: number): number {
  return shortest + Math.random() * (longest - shortest);
}

/** A seat that is kept. */
export class SeatState {
  activation: Activation | null = null;
  lease: SignedLease | null = null;
  refused: Refused | null = null;
  grantedAt: number | null = null;
  isFromServer = false;
  due = 0;
  isOffline = false;
  #failures = 0;
  #wasLost = false;

  constructor(
    private readonly policy: OfflinePolicy,
    private readonly graceMs: number,
  ) {}

  /** The stack has granted or renewed the seat. */
  granted(activation: Activation, now: number): Change[] {
    const changes: Change[] = this.isOffline ? [{ kind: "online" }] : [];
    const wasOver = this.activation?.status === "overdraft";
    const isOver = activation.status === "overdraft";
    if (isOver && !wasOver) changes.push({ kind: "overdraft" });
    if (wasOver && !isOver) changes.push({ kind: "within" });
    this.activation = activation;
    this.grantedAt = now;
    this.refused = null;
    this.isOffline = false;
    this.isFromServer = true;
    this.#failures = 0;
    this.#wasLost = false;
    this.due = now + this.#renewalMs(now);
    return changes;
  }

  /** The stack was out of reach. */
  failed(now: number): Change[] {
    const changes: Change[] = this.isOffline ? [] : [{ kind: "offline" }];
    this.isOffline = true;
    this.#failures = Math.min(this.#failures + 1, 10);
    const longest = Math.min(LONGEST_RETRY_MS, SHORTEST_RETRY_MS * 2 ** this.#failures);
    this.due = now + between(SHORTEST_RETRY_MS, longest);
    return changes;
  }

  /** The stack has refused the seat. */
  refusedBy(error: Refused, now: number): Change[] {
    const isNew = this.refused?.type !== error.type;
    const changes: Change[] = this.isOffline ? [{ kind: "online" }] : [];
    this.refused = error;
    this.isOffline = false;
    this.#failures = 0;
    this.due = now + between(LONGEST_RETRY_MS / 2, LONGEST_RETRY_MS);
    let kind: Change["kind"] = "refused";
    if (error instanceof Denied) kind = "denied";
    else if (error instanceof Suspended) kind = "suspended";
    else if (error instanceof Expired) kind = "expired";
    return isNew ? [...changes, { kind, error }] : changes;
  }

  /** Whether the time has changed anything: grace may have run out. */
  look(now: number): Change[] {
    const isLost = this.isOffline && this.refused === null && this.source(now) === null;
    const changes: Change[] = isLost && !this.#wasLost ? [{ kind: "lost" }] : [];
    this.#wasLost = isLost;
    return changes;
  }

  /** By whose word the seat may be used now; null: it must not be. */
  source(now: number): Source | null {
    if (this.refused !== null) return null;
    if (this.#isLeased(now)) return "server";
    if (this.policy === "allow") return "policy";
    if (this.policy === "deny") return null;
    if (this.lease !== null && now < this.lease.offlineUntil) return "lease";
    return this.#isInGrace(now) ? "policy" : null;
  }

  #isLeased(now: number): boolean {
    if (!this.isFromServer || this.activation === null) return false;
    const expiry = timeOf(this.activation.leaseExpiry);
    return expiry === null || now < expiry;
  }

  /** Grace begins when the stack was last heard of, or the lease ended, whatever was later. */
  #isInGrace(now: number): boolean {
    if (this.grantedAt === null) return false;
    const expiry = timeOf(this.activation?.leaseExpiry) ?? 0;
    return now < Math.max(this.grantedAt, expiry) + this.graceMs;
  }

  /** A little after half of the lease: the stack writes a renewal from then on. */
  #renewalMs(now: number): number {
    const expiry = timeOf(this.activation?.leaseExpiry);
    if (expiry === null) return WITHOUT_LEASE_MS * between(0.9, 1.1);
    const left = Math.max(0, expiry - now);
    return Math.max(SHORTEST_RETRY_MS, left * between(0.5, 0.6));
  }
}
