/** The client: for services, scripts and desktop software. */

import { Calls, type ConsumeOptions, type TakeOptions } from "./calls.js";
import { Refused, Unavailable } from "./errors.js";
import { Journal } from "./journal.js";
import { type Change, type OfflinePolicy, SeatState, type Source } from "./keeping.js";
import { AHEAD_MS, type SignedLease, UnknownKey, Unverified, verify } from "./leases.js";
import { harmless, type Log, warn } from "./log.js";
import { Meter, type MeterOptions } from "./meter.js";
import type {
  Activation,
  Consumption,
  Entitlement,
  HeldSeat,
  LeaseKey,
  Seats,
  UsageLimit,
} from "./models.js";
import { atEndOfProcess, onSigterm } from "./process.js";
import { type Clock, Sender, type SenderOptions } from "./requests.js";
import { type State, Store } from "./store.js";

/** A machine that slept does not know by its timers how long: the clock is looked at this often. */
const LOOK_MS = 30_000;
const SHORTEST_WAIT_MS = 50;
const GRACE_MS = 8 * 3_600_000;
const NOTE_MS = 60_000;
/** Seats of which nothing was heard for so long are forgotten. */
const FORGET_MS = 400 * 86_400_000;

// Node.js 18.0 does not know it yet; whoever writes `await using` has it.
const asyncDispose: typeof Symbol.asyncDispose =
  Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");

export interface Options extends SenderOptions {
  /** The license key of the entitlement. */
  licenseKey?: string;
  /** An API key, for a server of the vendor, together with `entitlementId`. */
  apiKey?: string;
  entitlementId?: string;
  /**
   * What a seat is worth while the stack is out of reach: `grace` goes on until a signed lease's
   * `offlineUntil`, and for `graceMs` after the end of its lease, whatever is later; `deny` until the
   * lease ends; `allow` for ever.
   */
  offline?: OfflinePolicy;
  /** By default eight hours. */
  graceMs?: number;
  /** A folder for what must survive a restart; false: nothing is stored. */
  state?: string | false;
  /** The stack's public keys, if they are not to be trusted at first use. */
  leaseKeys?: readonly LeaseKey[];
  /** By default `console.warn`. */
  log?: Log;
}

export interface SeatOptions extends Omit<TakeOptions, "signed"> {
  /** Called when something has changed about the seat. */
  onChange?: (seat: Seat, change: Change) => unknown;
  /** Give it back when the process is told to end. */
  releaseOnSigterm?: boolean;
}

/** What is stored of a seat. */
interface StoredSeat {
  grantedAt: number;
  lease: string | null;
}

/** A stack of Overdraft, as software of one customer sees it. */
export class Overdraft {
  /** @internal */ readonly clock: Clock;
  /** @internal */ readonly log: Log;
  readonly #calls: Calls;
  readonly #offline: OfflinePolicy;
  readonly #graceMs: number;
  readonly #store: Store;
  readonly #pinned: readonly LeaseKey[] | null;
  readonly #keeper: Keeper;
  readonly #meters = new Map<string, Meter>();
  #journal: Journal | null = null;
  #opened: Promise<void> | null = null;
  #notedAt = 0;

  constructor(url: string, options: Options) {
    const { licenseKey, apiKey, entitlementId, offline = "grace" } = options;
    if ((licenseKey == null) === (apiKey == null)) {
      throw new TypeError("give either licenseKey or apiKey");
    }
    if (apiKey != null && entitlementId == null) {
      throw new TypeError("an API key needs entitlementId: it may see every entitlement");
    }
    if (!["grace", "deny", "allow"].includes(offline)) {
      throw new TypeError("offline must be grace, deny or allow");
    }
    const scheme = licenseKey == null ? "Bearer" : "License";
    const sender = new Sender(url, scheme, licenseKey ?? apiKey, options);
    const keyId = String(licenseKey ?? apiKey).split(".")[0] ?? "";
    this.clock = sender.clock;
    this.log = harmless(options.log ?? warn);
    this.#offline = offline;
    this.#graceMs = options.graceMs ?? GRACE_MS;
    this.#pinned = options.leaseKeys ?? null;
    this.#store =
      options.state === false
        ? new Store(null, this.log)
        : Store.of(options.state, sender.url, keyId, this.log);
    this.#calls = new Calls(sender, entitlementId ?? null);
    this.#keeper = new Keeper(this);
  }

  // --- Seats ------------------------------------------------------------------------------------

  /**
   * Take a seat, and keep it until it is released: `await using seat = await client.seat(...)`.
   *
   * @throws Refused The stack has said no: `Denied`, `Suspended`, `Expired`, ...
   * @throws Unavailable It is out of reach, and the offline policy does not allow to go on.
   */
  async seat(seatId: string, options: SeatOptions = {}): Promise<Seat> {
    await this.#open();
    const seat = new Seat(this, seatId, options);
    await seat.start();
    return seat;
  }

  /** Take or renew a seat, once: nobody keeps it. */
  async take(seatId: string, options: TakeOptions = {}): Promise<Activation> {
    await this.#open();
    return this.#calls.take(seatId, options);
  }

  /** Release a seat; one that is not held any more stays released. */
  async release(activationId: string): Promise<void> {
    await this.#calls.release(activationId);
  }

  /** Who holds seats, page by page. */
  heldSeats(): AsyncGenerator<HeldSeat> {
    return this.#calls.heldSeats();
  }

  // --- Usage limits -----------------------------------------------------------------------------

  /**
   * Consume a quantity of a usage limit, all or nothing.
   *
   * It counts once, however often it has to be sent: it has one key, made before the first try.
   */
  async consume(key: string, quantity = 1, options: ConsumeOptions = {}): Promise<Consumption> {
    await this.#open();
    return this.#calls.consume(key, quantity, options);
  }

  /** A meter of a usage limit, for what is counted often. One for each limit. */
  meter(key: string, options: MeterOptions = {}): Meter {
    let meter = this.#meters.get(key);
    if (meter === undefined || meter.isClosed) {
      atEndOfProcess.add(this);
      this.#journal ??= new Journal(this.#calls, this.#store, this.log);
      meter = new Meter(key, this.#journal, options, this.log);
      this.#meters.set(key, meter);
    }
    return meter;
  }

  /** A key for `consume`, with the stack's time: a UUIDv7. */
  newRequestKey(): string {
    return this.#calls.newRequestKey();
  }

  /** Every usage limit in its current period. */
  async usage(): Promise<UsageLimit[]> {
    return this.#calls.usage();
  }

  /** What was sold, with its seats in use. */
  async entitlement(): Promise<Entitlement> {
    return this.#calls.entitlement();
  }

  // --- The end ----------------------------------------------------------------------------------

  /** Give every kept seat back, and send what meters have. */
  async close(): Promise<void> {
    let isReachable = await this.#keeper.close();
    for (const meter of this.#meters.values()) {
      try {
        isReachable = await meter.close(isReachable);
      } catch (error) {
        this.log(`license usage not sent: ${error}`); // one limit's trouble is not the others'
      }
    }
    this.#meters.clear();
    await this.#journal?.close();
    this.#journal = null;
    await this.#store.settled();
    this.forgetIfIdle();
  }

  /** @internal Nothing has to be done for it when the process ends, until it is used again. */
  forgetIfIdle(): void {
    if (this.#keeper.seats.size > 0 || this.#meters.size > 0) return;
    atEndOfProcess.delete(this);
    onSigterm.delete(this);
  }

  async [asyncDispose](): Promise<void> {
    await this.close();
  }

  // --- Keeping seats ----------------------------------------------------------------------------

  /** @internal */
  newState(): SeatState {
    return new SeatState(this.#offline, this.#graceMs);
  }

  /** @internal The seats that are kept. */
  get keeper(): Keeper {
    return this.#keeper;
  }

  /** @internal Take or renew a seat, and bring its state up to date. */
  async renew(seatId: string, options: SeatOptions, state: SeatState): Promise<Change[]> {
    const { name, attributes, leasePeriod } = options;
    try {
      const taken = await this.#calls.take(seatId, {
        ...(name !== undefined && { name }),
        ...(attributes && { attributes }),
        ...(leasePeriod !== undefined && { leasePeriod }),
        ...(this.#offline === "grace" && { signed: true }),
      });
      const changes = state.granted(taken, this.clock.now());
      if (taken.signedLease) await this.#keepLease(seatId, taken, taken.signedLease, state);
      await this.#remember(seatId, state);
      return changes;
    } catch (error) {
      if (error instanceof Refused) {
        await this.forget(seatId);
        state.lease = null;
        return state.refusedBy(error, this.clock.now());
      }
      if (!(error instanceof Unavailable)) throw error;
      await this.#noteTime();
      return state.failed(this.clock.now());
    }
  }

  /** @internal What an earlier process has left of a seat, for software that starts offline. */
  async resume(seatId: string, state: SeatState): Promise<void> {
    const stored = await this.#store.read();
    const seat = seatsIn(stored).get(seatId);
    if (typeof seat !== "object" || seat === null) return;
    const now = this.clock.now();
    if (typeof seat.grantedAt !== "number" || seat.grantedAt > now + AHEAD_MS) {
      return this.forget(seatId);
    }
    if (seat.lease) {
      try {
        const keys = this.#keysIn(stored);
        const lease = await verify(String(seat.lease), keys, seatId, this.#calls.entitlementId);
        if (lease.issuedAt > now + AHEAD_MS) throw new Unverified("it is from the future");
        state.lease = lease;
        state.activation = lease.activation;
      } catch (error) {
        this.log(`stored license lease not used: ${error}`);
        return this.forget(seatId);
      }
    }
    state.grantedAt = seat.grantedAt;
  }

  /** @internal A seat was given back: nothing of it may be used later. */
  async forget(seatId: string): Promise<void> {
    if (!seatsIn(await this.#store.read()).has(seatId)) return;
    await this.#store.change((stored) => {
      const seats = seatsIn(stored);
      seats.delete(seatId);
      stored.seats = Object.fromEntries(seats);
    });
  }

  #open(): Promise<void> {
    this.#opened ??= this.#store.read().then((stored) => {
      if (typeof stored.latestMs === "number") this.clock.atLeast(stored.latestMs);
      if (typeof stored.entitlementId === "string") {
        this.#calls.entitlementId ??= stored.entitlementId;
      }
    });
    return this.#opened;
  }

  #keysIn(stored: State): readonly LeaseKey[] {
    return this.#pinned ?? (Array.isArray(stored.keys) ? stored.keys : []);
  }

  /** Check a signed lease, with new keys of the stack if it has any. */
  async #keepLease(seatId: string, taken: Activation, text: string, state: SeatState) {
    const check = (keys: readonly LeaseKey[]): Promise<SignedLease> =>
      verify(text, keys, seatId, taken.entitlementId);
    try {
      try {
        state.lease = await check(this.#keysIn(await this.#store.read()));
      } catch (error) {
        if (this.#pinned !== null || !(error instanceof UnknownKey)) throw error;
        const keys = await this.#calls.leaseKeys();
        state.lease = await check(keys);
        await this.#store.change((stored) => {
          stored.keys = keys;
        });
      }
    } catch (error) {
      // The seat is granted all the same; software has no lease for offline.
      this.log(`signed license lease not used: ${error}`);
    }
  }

  async #remember(seatId: string, state: SeatState): Promise<void> {
    const now = this.clock.now();
    const kept: StoredSeat = {
      grantedAt: state.grantedAt ?? now,
      lease: state.lease?.text ?? null,
    };
    await this.#store.change((stored) => {
      const seats = seatsIn(stored).set(seatId, kept);
      const recent = [...seats].filter(([, seat]) => seat?.grantedAt >= now - FORGET_MS);
      stored.seats = Object.fromEntries(recent);
      stored.entitlementId = this.#calls.entitlementId;
      stored.latestMs = now;
    });
  }

  /** Store how late it is, now and then: so a clock may be set back between two starts. */
  async #noteTime(): Promise<void> {
    const now = this.clock.now();
    if (now - this.#notedAt < NOTE_MS) return;
    this.#notedAt = now;
    await this.#store.change((stored) => {
      stored.latestMs = now;
    });
  }
}

function seatsIn(stored: State): Map<string, StoredSeat> {
  return new Map(Object.entries((stored.seats ?? {}) as Record<string, StoredSeat>));
}

/**
 * A seat that is kept, until it is released.
 *
 * `isValid` says whether it may be used now, `source` by whose word: the stack's (`server`), a signed
 * lease's (`lease`) or the offline policy's (`policy`).
 */
export class Seat {
  #state: SeatState;
  #isKept = false;
  /** What is done with this seat, one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(
    private readonly client: Overdraft,
    /** Who holds it. */
    readonly seatId: string,
    private readonly options: SeatOptions,
  ) {
    this.#state = client.newState();
  }

  /** The last answer of the stack; offline after a start, what the signed lease says. */
  get activation(): Activation | null {
    return this.#state.activation;
  }

  /** Whether the seat may be used now. */
  get isValid(): boolean {
    return this.source !== null;
  }

  /** By whose word the seat may be used now; null: it must not be. */
  get source(): Source | null {
    return this.#state.source(this.client.clock.now());
  }

  /** Whether it is a seat above what was purchased. */
  get isOverdraft(): boolean {
    return this.activation?.isOverdraftSeat ?? false;
  }

  /** The seats in use when the stack was last heard of. */
  get seats(): Seats | null {
    return this.activation?.seats ?? null;
  }

  /** Why the stack refuses it, if it does. */
  get refusal(): Refused | null {
    return this.#state.refused;
  }

  /** @internal */
  async start(): Promise<void> {
    const state = this.#state;
    const changes = await this.client.renew(this.seatId, this.options, state);
    if (state.refused !== null) throw state.refused;
    if (state.isOffline) {
      await this.client.resume(this.seatId, state);
      if (this.source === null) {
        throw new Unavailable("it cannot be reached, and there is no lease to go on with");
      }
    }
    this.#isKept = true;
    this.client.keeper.add(this);
    if (this.options.releaseOnSigterm) onSigterm.add(this.client);
    this.#report(changes);
  }

  /** Renew the seat now. It is done when it is due. */
  async renew(): Promise<void> {
    const changes = await this.#exclusive(async () => {
      if (!this.#isKept) return [];
      const state = this.#state;
      const renewed = await this.client.renew(this.seatId, this.options, state);
      return [...renewed, ...state.look(this.client.clock.now())];
    });
    this.#report(changes);
  }

  /** Give the seat back. Never throws: a seat that cannot be given back ends with its lease. */
  async release(): Promise<void> {
    await this.giveBack(true);
  }

  async [asyncDispose](): Promise<void> {
    await this.release();
  }

  /** @internal Give it back, if the stack answers; whether it did. */
  giveBack(tries: boolean): Promise<boolean> {
    this.client.keeper.remove(this);
    return this.#exclusive(async () => {
      if (!this.#isKept) return tries;
      const held = this.activation;
      this.#isKept = false;
      this.#state = this.client.newState(); // it must not be used any more
      this.client.forgetIfIdle();
      await this.client.forget(this.seatId);
      if (held === null || !tries) return tries;
      try {
        await this.client.release(held.activationId);
        return true;
      } catch (error) {
        this.client.log(`license seat not given back: ${error}`);
        return !(error instanceof Unavailable);
      }
    });
  }

  /** @internal When it has to be looked after, Unix milliseconds. */
  get due(): number {
    return this.#state.due;
  }

  /**
   * @internal Renew it if it is due, or see what the time has changed; whether the stack answered.
   *
   * @param isReachable False: another seat has just found that it does not.
   */
  async look(isReachable: boolean): Promise<boolean> {
    const now = this.client.clock.now();
    const isDue = now >= this.#state.due;
    if (isDue && isReachable) {
      await this.renew();
      return !this.#state.isOffline;
    }
    this.#report([...(isDue ? this.#state.failed(now) : []), ...this.#state.look(now)]);
    return isReachable;
  }

  /** @internal It could not be looked after: not at once again. */
  postpone(): void {
    this.#state.failed(this.client.clock.now());
  }

  #exclusive<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }

  #report(changes: readonly Change[]): void {
    for (const change of changes) {
      try {
        const result = this.options.onChange?.(this, change);
        if (result instanceof Promise) {
          result.catch((error) => this.client.log(`onChange failed: ${error}`));
        }
      } catch (error) {
        // The integrator's defect must not end the keeper.
        this.client.log(`onChange failed: ${error}`);
      }
    }
  }
}

/** One timer that renews all seats of a client. It keeps no process alive. */
class Keeper {
  readonly seats = new Set<Seat>();
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isLooking = false;

  constructor(private readonly client: Overdraft) {}

  /** Keep a seat from now on. */
  add(seat: Seat): void {
    atEndOfProcess.add(this.client);
    this.seats.add(seat);
    this.#schedule();
  }

  /** Keep a seat no longer. */
  remove(seat: Seat): void {
    this.seats.delete(seat);
    this.#schedule();
  }

  /** Give all seats back; once the stack does not answer, the others end with their leases. False: it did not. */
  async close(): Promise<boolean> {
    let isReachable = true;
    for (const seat of [...this.seats]) isReachable = await seat.giveBack(isReachable);
    return isReachable;
  }

  /** Look after every seat that is due. */
  async look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    let isReachable = true;
    for (const seat of [...this.seats]) {
      try {
        isReachable = await seat.look(isReachable);
      } catch (error) {
        // Never the end of the keeper, nor a reason to ask at once again.
        this.client.log(`license seat not renewed: ${error}`);
        seat.postpone();
      }
    }
    this.#isLooking = false;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.seats.size === 0 || this.#isLooking) return;
    let first = Number.POSITIVE_INFINITY;
    for (const seat of this.seats) first = Math.min(first, seat.due);
    const wait = Math.min(LOOK_MS, Math.max(SHORTEST_WAIT_MS, first - this.client.clock.now()));
    this.#timer = setTimeout(() => void this.look(), wait);
    this.#timer.unref?.();
  }
}
