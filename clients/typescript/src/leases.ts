/** Signed leases: checking them, and the keys that check them. */

import { type Activation, type LeaseKey, readActivation } from "./models.js";

export const KIND = "overdraft-lease+jws";
/** How far a lease may be ahead of the clock. */
export const AHEAD_MS = 600_000;

/** A signed lease that must not be used; the message says why. */
export class Unverified extends Error {}

/** The key that signed it is not known yet: it may be a new one. */
export class UnknownKey extends Unverified {}

/** A lease whose signature was checked. Times are Unix milliseconds. */
export interface SignedLease {
  text: string;
  activation: Activation;
  issuedAt: number;
  offlineUntil: number;
}

/**
 * Check a signed lease; whether its time is over is for the caller to see.
 *
 * @throws Unverified It is forged, of another seat, or signed with a key that is not known.
 */
export async function verify(
  text: string,
  keys: readonly LeaseKey[],
  seatId: string,
  entitlementId: string | null,
): Promise<SignedLease> {
  // Only software that is granted a signed lease, or starts offline, pays for this import.
  const { compactVerify, decodeProtectedHeader, importJWK } = await import("jose");
  try {
    const header = decodeProtectedHeader(text);
    if (header.typ !== KIND) throw new Unverified(`it is a ${header.typ}`);
    const key = keys.find((each) => each.kid === header.kid);
    if (key === undefined) throw new UnknownKey(`the key ${header.kid} is not known`);
    const imported = await importJWK({ ...key }, "ES256");
    const { payload } = await compactVerify(text, imported, { algorithms: ["ES256"] });
    const claims = JSON.parse(new TextDecoder().decode(payload));
    const activation = readActivation({ ...claims, seatName: null, attributes: {} });
    const { iat, exp } = claims;
    if (typeof iat !== "number" || typeof exp !== "number") throw new Unverified("it has no times");
    if (activation.seatId !== seatId || !isOf(activation, entitlementId)) {
      throw new Unverified("it is of another seat");
    }
    return { text, activation, issuedAt: iat * 1_000, offlineUntil: exp * 1_000 };
  } catch (error) {
    throw error instanceof Unverified ? error : new Unverified(String(error));
  }
}

function isOf(activation: Activation, entitlementId: string | null): boolean {
  return entitlementId === null || activation.entitlementId === entitlementId;
}
