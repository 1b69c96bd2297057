/** Soft license limits: take and keep seats, and count usage, against a stack of Overdraft. */

export type { ConsumeOptions, TakeOptions } from "./calls.js";
export { type Options, Overdraft, Seat, type SeatOptions } from "./client.js";
export {
  BorrowLimitReached,
  ClockAhead,
  Denied,
  Expired,
  Forbidden,
  IdempotencyConflict,
  Invalid,
  NotFound,
  NotYetValid,
  OverdraftError,
  type Problem,
  Refused,
  Suspended,
  TooLate,
  Unauthorized,
  Unavailable,
} from "./errors.js";
export type { Aside } from "./journal.js";
export type { Change, OfflinePolicy, Source } from "./keeping.js";
export { Meter, type MeterOptions } from "./meter.js";
export type {
  Activation,
  BorrowedSeats,
  Consumption,
  Contact,
  Entitlement,
  HeldSeat,
  LeaseKey,
  Seats,
  Usage,
  UsageLimit,
} from "./models.js";
export { Clock, type Fetch, type Retry } from "./requests.js";
export { type Call, type Input, type Output, Vendor, type VendorOptions } from "./vendor.js";
export { VERSION } from "./version.js";
