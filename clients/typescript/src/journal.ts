/**
 * Usage that is added up in the process, and sent once: what is to be sent, and what became of it.
 *
 * A quantity gets its key when it is sent for the first time, and the key is stored before that. So
 * at most one request of a limit is under way, and it is sent again under its key until the stack has
 * answered, also by a later process. What is added meanwhile waits without a key, and is one request
 * later, however long the network is gone.
 */

import { randomUUID } from "node:crypto";
import { access, readdir, rename, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import type { Calls } from "./calls.js";
import { ClockAhead, Denied, Refused, TooLate, Unavailable } from "./errors.js";
import type { Log } from "./log.js";
import { Store } from "./store.js";

/** The most that one request consumes. */
const MOST_AT_ONCE = 1_000_000_000;
/** How many entries that were set aside are stored; the oldest leave. */
const MOST_ASIDE = 1_000;
const MOST_ADOPTED = 100;
const MOST_NEW_KEYS = 2;
/** From when on usage is late, so that people may want to know when it was; how old it may be. */
const LATE_MS = 60_000;
const OLDEST_MS = 399 * 86_400_000;
/** Without a sign of life for so long, a process of another machine or container has ended. */
const SILENT_MS = 3_600_000;

/**
 * Usage that the stack has refused, and that is not sent again.
 *
 * `type` is the end of the problem's type. Of `idempotency-key-expired` it is not known whether it was
 * counted; anything else was not. Tell the vendor, who can correct the usage by hand.
 */
export interface Aside {
  key: string;
  quantity: number;
  type: string;
  requestKey: string;
  firstAt: string;
}

/** A request that is under way: its key stays, whatever happens. */
interface Sending {
  quantity: number;
  requestKey: string;
  firstAt: string;
}

/** What is known of one usage limit. */
interface Limit {
  waiting: number;
  firstAt: string | null;
  sending: Sending | null;
}

/** Which process has a journal. `seenAt` is when it last wrote it. */
interface Owner {
  process: number;
  host: string;
  seenAt: number;
}

interface Stored {
  owner: Owner | null;
  limits: Record<string, Limit>;
  aside: Aside[];
}

/** All usage of a process that has not been counted yet, in a file of its own. */
export class Journal {
  #limits = new Map<string, Limit>();
  #aside: Aside[] = [];
  #stored: Stored | null = null;
  readonly #store: Store;
  readonly #opened: Promise<void>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly calls: Calls,
    base: Store,
    private readonly log: Log,
  ) {
    const path = base.path?.replace(/\.json$/, `.journal-${randomUUID()}.json`) ?? null;
    this.#store = new Store(path, log);
    this.#opened = this.#adoptAll(base);
  }

  /** Usage of a limit that the stack has refused. */
  aside(key: string): Aside[] {
    return this.#aside.filter((each) => each.key === key);
  }

  /** Add usage; return what waits. It never touches the network or the disk. */
  add(key: string, quantity: number): number {
    const limit = this.#limit(key);
    limit.waiting += quantity;
    limit.firstAt ??= this.#now();
    return limit.waiting;
  }

  /** Send what is there of a limit; false: the stack was out of reach. */
  async send(key: string, onAside?: (aside: Aside) => void): Promise<boolean> {
    await this.#opened;
    const limit = this.#limit(key);
    let newKeys = 0;
    for (;;) {
      const isFirst = limit.sending === null;
      const sending = limit.sending ?? (await this.#begin(limit));
      if (sending === null) return limit.waiting === 0;
      const { quantity, requestKey } = sending;
      const occurredAt = this.#occurredAt(sending);
      try {
        await this.calls.consume(key, quantity, {
          requestKey,
          journaled: true,
          ...(occurredAt && { occurredAt }),
        });
        limit.sending = null;
        await this.save();
      } catch (error) {
        if (error instanceof Unavailable) return false;
        if (!(error instanceof Refused)) throw error;
        // Nothing was counted of a key from the future, nor of one that was never sent before: the
        // clock was wrong, and now is corrected.
        const isOfClock = error instanceof ClockAhead || (error instanceof TooLate && isFirst);
        if (isOfClock && newKeys++ < MOST_NEW_KEYS) {
          wait(limit, sending);
          limit.sending = null;
        } else {
          await this.#refused(key, limit, sending, error, onAside);
        }
      }
    }
  }

  /** Store what must survive a crash; whether it is stored, or need not be. */
  save(): Promise<boolean> {
    const done = this.#last.then(async () => {
      await this.#opened;
      return this.#save();
    });
    this.#last = done;
    return done;
  }

  /** Let another process go on with what is left. */
  async close(): Promise<void> {
    await this.save();
    if (this.#store.path === null) return;
    const isEmpty = this.#aside.length === 0 && Object.keys(this.#kept()).length === 0;
    if (isEmpty) await unlink(this.#store.path).catch(() => undefined);
    else await this.#store.change((state) => Object.assign(state, { owner: null }));
  }

  async #save(): Promise<boolean> {
    if (this.#store.path === null) return true;
    const stored: Stored = {
      owner: { process: process.pid, host: hostname(), seenAt: Date.now() },
      limits: this.#kept(),
      aside: this.#aside,
    };
    const isStored = await this.#store.change((state) => Object.assign(state, stored));
    if (isStored) this.#stored = stored;
    return isStored;
  }

  #kept(): Record<string, Limit> {
    const kept = [...this.#limits].filter(([, limit]) => limit.waiting > 0 || limit.sending);
    return structuredClone(Object.fromEntries(kept));
  }

  #limit(key: string): Limit {
    let limit = this.#limits.get(key);
    if (limit === undefined) {
      limit = { waiting: 0, firstAt: null, sending: null };
      this.#limits.set(key, limit);
    }
    return limit;
  }

  #now(): string {
    return new Date(this.calls.sender.clock.now()).toISOString();
  }

  /** The next request, stored; null: there is none, or it cannot be stored. */
  async #begin(limit: Limit): Promise<Sending | null> {
    await this.#checkOwned();
    if (limit.waiting === 0) return null;
    const sending: Sending = {
      quantity: Math.min(limit.waiting, MOST_AT_ONCE),
      requestKey: this.calls.newRequestKey(),
      firstAt: limit.firstAt ?? this.#now(),
    };
    limit.waiting -= sending.quantity;
    limit.firstAt = limit.waiting > 0 ? sending.firstAt : null;
    limit.sending = sending;
    if (await this.save()) return sending;
    // After a crash it would be sent under another key.
    wait(limit, sending);
    limit.sending = null;
    return null;
  }

  /**
   * Give up what was stored, if another process has taken the file: after a sleep of hours, one on
   * another machine believes that this one has ended.
   */
  async #checkOwned(): Promise<void> {
    const { path } = this.#store;
    if (path === null || this.#stored === null || (await exists(path))) return;
    for (const [key, stored] of Object.entries(this.#stored.limits)) {
      const limit = this.#limit(key);
      limit.waiting = Math.max(0, limit.waiting - stored.waiting);
      if (limit.waiting === 0) limit.firstAt = null;
    }
    this.#stored = null;
  }

  /** When the first of it happened, if that is worth a note. */
  #occurredAt(sending: Sending): Date | null {
    const first = new Date(sending.firstAt);
    const age = this.calls.sender.clock.now() - first.getTime();
    return LATE_MS < age && age < OLDEST_MS ? first : null;
  }

  /** What does not fit is set aside; what fits is sent by itself, under a key of its own. */
  async #refused(
    key: string,
    limit: Limit,
    sending: Sending,
    error: Refused,
    onAside?: (aside: Aside) => void,
  ): Promise<void> {
    let fits = error instanceof Denied ? (error.usage?.available ?? 0) : 0;
    // What is available has changed since: people may look at it.
    if (fits >= sending.quantity) fits = 0;
    const { requestKey, firstAt } = sending;
    const quantity = sending.quantity - fits;
    const aside: Aside = { key, quantity, type: error.type, requestKey, firstAt };
    // Nothing of the refused request was counted, so this is no repetition.
    limit.sending =
      fits > 0 ? { quantity: fits, requestKey: this.calls.newRequestKey(), firstAt } : null;
    this.#aside = [...this.#aside, aside].slice(-MOST_ASIDE);
    await this.save();
    this.log(`license usage set aside: ${quantity} of ${key}: ${aside.type}`);
    try {
      onAside?.(aside);
    } catch (defect) {
      // The integrator's defect must not end the meter.
      this.log(`onRefused failed: ${defect}`);
    }
  }

  /** Take over what processes that have ended left. Renaming a file lets only one do so. */
  async #adoptAll(base: Store): Promise<void> {
    if (base.path === null) return;
    const folder = dirname(base.path);
    const prefix = basename(base.path).replace(/\.json$/, ".journal-");
    const names = await readdir(folder).catch((): string[] => []);
    const found = names.filter((name) => name.startsWith(prefix) && name.endsWith(".json"));
    for (const name of found.slice(0, MOST_ADOPTED)) {
      const path = join(folder, name);
      if (path !== this.#store.path) await this.#adopt(path);
    }
  }

  async #adopt(path: string): Promise<void> {
    const left = (await new Store(path, this.log).read()) as Partial<Stored>;
    if (isAlive(left.owner ?? null)) return;
    const limits = Object.entries(left.limits ?? {});
    // Two requests under way: one after the other.
    if (limits.some(([key, limit]) => limit.sending && this.#limit(key).sending)) return;
    const mine = path.replace(/\.journal-[^.]*/, `.journal-${randomUUID()}`);
    try {
      await rename(path, mine);
    } catch {
      return; // another process was faster
    }
    const before = { limits: structuredClone([...this.#limits]), aside: this.#aside };
    for (const [key, limit] of limits) {
      const known = this.#limit(key);
      known.waiting += limit.waiting;
      known.firstAt ??= limit.firstAt;
      known.sending = limit.sending ?? known.sending;
    }
    this.#aside = [...this.#aside, ...(left.aside ?? [])];
    if (await this.#save()) {
      await unlink(mine).catch(() => undefined);
    } else {
      this.#limits = new Map(before.limits);
      this.#aside = before.aside;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Let a request that is under way wait for another key. */
function wait(limit: Limit, sending: Sending): void {
  limit.waiting += sending.quantity;
  limit.firstAt = sending.firstAt;
}

/** Whether the process that has a journal still runs. In doubt it does. */
function isAlive(owner: Owner | null): boolean {
  if (owner === null) return false;
  if (owner.host !== hostname()) return Date.now() - owner.seenAt < SILENT_MS;
  // An earlier one with our number has written before we began; a thread of ours has not.
  if (owner.process === process.pid) return owner.seenAt >= Date.now() - process.uptime() * 1_000;
  try {
    process.kill(owner.process, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
