// A client whose types openapi-typescript made from openapi.json lives an entitlement's whole life.
// The compiler checks every path, parameter, body and answer that is used here.

import { deepStrictEqual, strictEqual } from "node:assert";
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const { API, API_KEY } = process.env;
const client = (credential: string) =>
  createClient<paths>({ baseUrl: API ?? "", headers: { authorization: credential } });
const vendor = client(`Bearer ${API_KEY}`);

/** What was answered; anything but this status is a failure. */
function expect<T>(
  status: number,
  answer: { response: Response; data?: T; error?: unknown },
): NonNullable<T> {
  strictEqual(answer.response.status, status, JSON.stringify(answer.error));
  return answer.data as NonNullable<T>;
}

const sold = expect(
  201,
  await vendor.POST("/v1/entitlements", {
    body: {
      product: "CAD Pro",
      customer: { name: "Acme Corp" },
      seatCount: 1,
      overdraftSeatLimit: { type: "absolute", value: 1 },
      leasePeriod: "PT8H",
      usageLimits: [{ key: "exports", limit: 10 }],
      unitPrice: { amount: "30.00", currency: "USD", per: "month" },
    },
  }),
);
deepStrictEqual([sold.seatCount, sold.hardCap, sold.leasePeriod], [1, 2, "PT8H"]);
const { entitlementId } = sold;
const path = { entitlementId };
const key = expect(
  201,
  await vendor.POST("/v1/entitlements/{entitlementId}/license-keys", { params: { path }, body: {} }),
);
const software = client(`License ${key.key}`);

const take = (seatId: string) =>
  software.POST("/v1/entitlements/{entitlementId}/activations", {
    params: { path },
    body: { seatId },
  });
const alice = expect(201, await take("alice"));
const bob = expect(201, await take("bob"));
deepStrictEqual([alice.isOverdraftSeat, bob.isOverdraftSeat], [false, true]);
strictEqual(expect(200, await take("alice")).activationId, alice.activationId);
const denied = await take("carol");
strictEqual(denied.response.status, 409);
strictEqual(denied.error?.type.endsWith("/hard-cap-reached"), true);

const consumed = expect(
  200,
  await software.POST("/v1/entitlements/{entitlementId}/usage/{key}", {
    params: { path: { ...path, key: "exports" }, header: { "Idempotency-Key": "once" } },
    body: { quantity: 4 },
  }),
);
deepStrictEqual([consumed.usage.used, consumed.usage.available], [4, 6]);

// A patch of one member leaves everything else as it was.
const changed = expect(
  200,
  await vendor.PATCH("/v1/entitlements/{entitlementId}", {
    params: { path },
    body: { seatCount: 5 },
  }),
);
const names = Object.keys(sold) as (keyof typeof sold)[];
const differ = names.filter((name) => JSON.stringify(sold[name]) !== JSON.stringify(changed[name]));
deepStrictEqual(differ.sort(), ["hardCap", "seatCount", "seats", "updatedAt"]);

const released = expect(
  200,
  await vendor.POST("/v1/entitlements/{entitlementId}/seats/release", {
    params: { path },
    body: { seatId: "bob" },
  }),
);
strictEqual(released.wasHeld, true);
const held = expect(
  200,
  await vendor.GET("/v1/entitlements/{entitlementId}/activations", { params: { path } }),
);
deepStrictEqual(
  held.items.map((each) => each.activationId),
  [alice.activationId],
);
expect(
  204,
  await vendor.DELETE("/v1/entitlements/{entitlementId}", { params: { path } }),
);
const last = expect(
  200,
  await vendor.GET("/v1/entitlements/{entitlementId}", { params: { path } }),
);
deepStrictEqual([last.status, last.seats?.used], ["deleted", 0]);
console.log("a whole life");
