/** The calls of the API that a product makes on one entitlement. */

import {
  type Activation,
  type Consumption,
  type Entitlement,
  type HeldSeat,
  type LeaseKey,
  readActivation,
  readConsumption,
  readEntitlement,
  readKeys,
  readPage,
  type UsageLimit,
} from "./models.js";
import { type Sender, segment, uuid7 } from "./requests.js";

/** How a seat is taken. */
export interface TakeOptions {
  /** Who it is, for people. */
  name?: string;
  /** What else people want to see, such as the device. */
  attributes?: Record<string, string>;
  /** Borrow it for so long, such as `P14D` for a journey (ISO 8601). */
  leasePeriod?: string;
  /** Answer with a `signedLease`. */
  signed?: boolean;
}

/** How usage is consumed. */
export interface ConsumeOptions {
  /** A key of the caller's own, for a request that is sent again later. */
  requestKey?: string;
  /** The key must be a UUIDv7 of the last day, so that a late repetition never counts twice. */
  journaled?: boolean;
  /** When it happened, if that was earlier. */
  occurredAt?: Date;
}

export class Calls {
  /** @param entitlementId Null: it is asked for once. Software has a license key, and no id. */
  constructor(
    readonly sender: Sender,
    public entitlementId: string | null,
  ) {}

  async license(): Promise<Entitlement> {
    return readEntitlement(await this.#send("GET", "/v1/license"));
  }

  async entitlement(): Promise<Entitlement> {
    return readEntitlement(await this.#send("GET", await this.#path("")));
  }

  async take(seatId: string, options: TakeOptions): Promise<Activation> {
    const { name, attributes, leasePeriod, signed } = options;
    const body = { seatId, seatName: name, attributes, leasePeriod, signed };
    // So that the answer to a repetition after a lost one is signed as well.
    const headers = signed ? { "idempotency-key": this.newRequestKey() } : {};
    const path = await this.#path("/activations");
    return readActivation(await this.#send("POST", path, body, headers));
  }

  async release(activationId: string): Promise<void> {
    const path = await this.#path(`/activations/${segment(activationId)}`);
    await this.#send("DELETE", path);
  }

  async *heldSeats(): AsyncGenerator<HeldSeat> {
    let token: string | null = null;
    do {
      const after: string = token === null ? "" : `&pageToken=${encodeURIComponent(token)}`;
      const path = await this.#path(`/activations?limit=100${after}`);
      const page = readPage<HeldSeat>(await this.#send("GET", path));
      yield* page.items;
      token = page.nextPageToken;
    } while (token !== null);
  }

  async consume(key: string, quantity: number, options: ConsumeOptions): Promise<Consumption> {
    const { requestKey = this.newRequestKey(), journaled, occurredAt } = options;
    const body = { quantity, journaled, occurredAt: occurredAt?.toISOString() };
    const path = await this.#path(`/usage/${segment(key)}`);
    return readConsumption(await this.#send("POST", path, body, { "idempotency-key": requestKey }));
  }

  async usage(): Promise<UsageLimit[]> {
    return readPage<UsageLimit>(await this.#send("GET", await this.#path("/usage"))).items;
  }

  async leaseKeys(): Promise<LeaseKey[]> {
    return readKeys(await this.#send("GET", "/.well-known/jwks.json"));
  }

  newRequestKey(): string {
    return uuid7(this.sender.clock.now());
  }

  async #path(rest: string): Promise<string> {
    this.entitlementId ??= (await this.license()).entitlementId;
    return `/v1/entitlements/${segment(this.entitlementId)}${rest}`;
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<unknown> {
    return (await this.sender.send({ method, path, body, headers })).body;
  }
}
