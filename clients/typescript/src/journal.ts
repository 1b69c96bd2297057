/**
 * Usage that is added up in the process, and sent once: what is to be sent, and what became of it.
 *
 * A quantity gets its key when it is sent for the first time, and the key is stored before that. So
 * at most one request of a limit is under way, and it is sent again under its key until the stack has
 * answered, also by a later process. What is added meanwhile waits without a key, and is one request
 * later, however long the network is gone.
 */

import { randomUUID } from "node:crypto";
import { access, readdir, rename, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Calls } from "./calls.js";
import { ClockAhead, Denied, Refused, TooLate, Unavailable } from "./errors.js";
import type { Log } from "./log.js";
import { isAlive, type Owner, Presence } from "./presence.js";
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
/** How often it is looked for journals that others have left. */
const ADOPT_MS = 60_000;
/** Files that a crash left while they were written are removed after a day. */
const LITTER_MS = 86_400_000;

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

interface Stored {
  owner: Owner | null;
  limits: Record<string, Limit>;
  aside: Aside[];
  /** Ids of the journals that this one contains, and whose files may still be there. */
  merged: string[];
}

/**
 * All usage of a process that has not been counted yet, in a file of its own.
 *
 * What a process has left, another one takes over: it renames the file, which only one can do, stores
 * what was in it together with its id, and removes it. So a crash in between counts nothing twice.
 */
export class Journal {
  #id = randomUUID();
  readonly #presence = new Presence();
  readonly #folder: string | null;
  readonly #prefix: string;
  readonly #opened: Promise<void>;
  #store: Store;
  #limits = new Map<string, Limit>();
  #aside: Aside[] = [];
  #merged: string[] = [];
  #stored: Stored | null = null;
  #adoptedAt = Number.NEGATIVE_INFINITY;
  #isMoreLeft = false;
  #isClosed = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly calls: Calls,
    base: Store,
    private readonly log: Log,
  ) {
    this.#folder = base.path === null ? null : dirname(base.path);
    this.#prefix = base.path === null ? "" : basename(base.path, ".json");
    this.#store = new Store(this.#pathOf(`journal-${this.#id}`), log);
    this.#opened = this.#open();
  }

  /** Usage of a limit that the stack has refused. */
  aside(key: string): Aside[] {
    return this.#aside.filter((each) => each.key === key);
  }

  /** Forget what was set aside of a limit. */
  async forgetAside(key: string): Promise<void> {
    this.#aside = this.#aside.filter((each) => each.key !== key);
    await this.save();
  }

  /** Add usage; return what waits. It never touches the network or the disk. */
  add(key: string, quantity: number): number {
    const limit = this.#limit(key);
    limit.waiting += quantity;
    limit.firstAt ??= this.#now();
    return limit.waiting;
  }

  /**
   * Send what is there of a limit; false: the stack was out of reach.
   *
   * @throws Error It is closed, and another process may go on with it.
   */
  async send(key: string, onAside?: (aside: Aside) => unknown): Promise<boolean> {
    await this.#opened;
    let newKeys = 0;
    let looked = false;
    for (;;) {
      if (this.#isClosed) throw new Error("the meter is closed");
      await this.#adoptAll();
      const limit = this.#limit(key);
      const isFirst = limit.sending === null;
      const sending = limit.sending ?? (await this.#begin(key));
      if (sending === null && limit.waiting === 0 && this.#isMoreLeft && !looked) {
        looked = true; // what could not be taken over before, now can
        continue;
      }
      if (sending === null) return limit.waiting === 0;
      looked = false;
      const { quantity, requestKey } = sending;
      const occurredAt = this.#occurredAt(sending);
      try {
        await this.calls.consume(key, quantity, {
          requestKey,
          journaled: true,
          ...(occurredAt && { occurredAt }),
        });
        limit.sending = null;
        // Sent again after a crash, it is a repetition.
        const stored = this.#stored?.limits[key];
        if (stored) stored.sending = null;
        await this.save();
      } catch (error) {
        if (error instanceof Unavailable) return false;
        if (!(error instanceof Refused)) throw error;
        if (limit.sending !== sending) continue; // it was taken over meanwhile
        // Nothing was counted of a key from the future, nor of one that was never sent before: the
        // clock was wrong, and now is corrected.
        const isOfClock = error instanceof ClockAhead || (error instanceof TooLate && isFirst);
        if (isOfClock && newKeys++ < MOST_NEW_KEYS) {
          wait(limit, sending);
          limit.sending = null;
        } else if (!(await this.#refused(key, limit, sending, error, onAside))) {
          return false;
        }
      }
    }
  }

  /** Store what must survive a crash; whether it is stored, or need not be. */
  save(): Promise<boolean> {
    return this.#exclusive(async () => {
      await this.#opened;
      return this.#isClosed || this.#save();
    });
  }

  /** Let another process go on with what is left. */
  async close(): Promise<void> {
    await this.save();
    this.#isClosed = true;
    const { path } = this.#store;
    if (path !== null) {
      const isEmpty = this.#aside.length + this.#merged.length + this.#entries().length === 0;
      if (isEmpty) await unlink(path).catch(() => undefined);
      else await this.#store.change((state) => Object.assign(state, { owner: null }));
    }
    this.#presence.end();
  }

  #pathOf(name: string): string | null {
    return this.#folder === null ? null : join(this.#folder, `${this.#prefix}.${name}.json`);
  }

  #exclusive<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #open(): Promise<void> {
    if (this.#folder === null) return;
    await this.#removeLitter(this.#folder);
    await this.#presence.begin(this.#folder, this.#id).catch(() => undefined);
    if (!(await this.#save())) {
      this.log("license usage is not stored");
      this.#store = new Store(null, this.log);
    }
  }

  async #save(): Promise<boolean> {
    await this.#checkOwned();
    return this.#write();
  }

  /** Before anything moves: what another process has taken is not ours any more. */
  async #checkOwned(): Promise<void> {
    const { path } = this.#store;
    if (path === null || this.#stored === null || (await exists(path))) return;
    // Who takes a file renames it, and remembers it; whoever removes the folder does not.
    const others = await this.#others();
    const isTaken =
      others === null ||
      mergedIn(others).has(this.#id) ||
      others.some((each) => each.id === this.#id);
    if (isTaken) this.#giveUpStored();
  }

  async #write(): Promise<boolean> {
    if (this.#store.path === null) return true;
    const stored: Stored = structuredClone({
      owner: this.#presence.owner(),
      limits: Object.fromEntries(this.#entries()),
      aside: this.#aside,
      merged: this.#merged,
    });
    const isStored = await this.#store.change((state) => Object.assign(state, stored));
    if (isStored) this.#stored = stored;
    return isStored;
  }

  /** Another process has taken the file: it believed that this one has ended. It goes on with that. */
  #giveUpStored(): void {
    for (const [key, stored] of Object.entries(this.#stored?.limits ?? {})) {
      const limit = this.#limit(key);
      limit.waiting = Math.max(0, limit.waiting - stored.waiting);
      if (limit.waiting === 0) limit.firstAt = null;
      if (limit.sending?.requestKey === stored.sending?.requestKey) limit.sending = null;
    }
    const taken = new Set(this.#stored?.aside.map((each) => each.requestKey));
    this.#aside = this.#aside.filter((each) => !taken.has(each.requestKey));
    this.#stored = null;
    // The id belongs to what was taken.
    this.#id = randomUUID();
    this.#store = new Store(this.#pathOf(`journal-${this.#id}`), this.log);
  }

  /** The limits of which something is left. */
  #entries(): [string, Limit][] {
    return [...this.#limits].filter(([, limit]) => limit.waiting > 0 || limit.sending);
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
  #begin(key: string): Promise<Sending | null> {
    return this.#exclusive(async () => {
      await this.#checkOwned();
      const limit = this.#limit(key);
      if (limit.waiting === 0) return null;
      const sending: Sending = {
        quantity: Math.min(limit.waiting, MOST_AT_ONCE),
        requestKey: this.calls.newRequestKey(),
        firstAt: limit.firstAt ?? this.#now(),
      };
      limit.waiting -= sending.quantity;
      limit.firstAt = limit.waiting > 0 ? sending.firstAt : null;
      limit.sending = sending;
      // If an earlier state is stored that waits, it would be sent under another key after a crash.
      const isStored = await this.#write();
      const stored = this.#stored?.limits[key];
      if (isStored || !(stored?.waiting || stored?.sending)) return sending;
      wait(limit, sending);
      limit.sending = null;
      return null;
    });
  }

  /** When the first of it happened, if that is worth a note. */
  #occurredAt(sending: Sending): Date | null {
    const first = new Date(sending.firstAt);
    const age = this.calls.sender.clock.now() - first.getTime();
    return LATE_MS < age && age < OLDEST_MS ? first : null;
  }

  /**
   * What does not fit is set aside; what fits is sent by itself, under a key of its own.
   *
   * False: that cannot be stored, and after a crash the same request would be sent again. So it is,
   * until it can.
   */
  async #refused(
    key: string,
    limit: Limit,
    sending: Sending,
    error: Refused,
    onAside?: (aside: Aside) => unknown,
  ): Promise<boolean> {
    let fits = error instanceof Denied ? (error.usage?.available ?? 0) : 0;
    // What is available has changed since: people may look at it.
    if (fits >= sending.quantity) fits = 0;
    const { requestKey, firstAt } = sending;
    const quantity = sending.quantity - fits;
    const aside: Aside = { key, quantity, type: error.type, requestKey, firstAt };
    // Nothing of the refused request was counted, so this is no repetition.
    limit.sending =
      fits > 0 ? { quantity: fits, requestKey: this.calls.newRequestKey(), firstAt } : null;
    const before = this.#aside;
    this.#aside = [...before, aside].slice(-MOST_ASIDE);
    const isStored = await this.save();
    if (!isStored && this.#stored?.limits[key]?.sending?.requestKey === requestKey) {
      limit.sending = sending;
      this.#aside = before;
      return false;
    }
    this.log(`license usage set aside: ${quantity} of ${key}: ${aside.type}`);
    const failed = (defect: unknown) => this.log(`onRefused failed: ${defect}`);
    try {
      // The integrator's defect must not end the meter. It is not waited for: it may flush.
      const result = onAside?.(aside);
      if (result instanceof Promise) result.catch(failed);
    } catch (defect) {
      failed(defect);
    }
    return true;
  }

  /** Take over what processes that have ended left, now and then. */
  async #adoptAll(): Promise<void> {
    if (this.#folder === null || this.#store.path === null) return;
    if (performance.now() - this.#adoptedAt < ADOPT_MS && !this.#isMoreLeft) return;
    this.#adoptedAt = performance.now();
    this.#isMoreLeft = false;
    const folder = this.#folder;
    await this.#exclusive(async () => {
      const others = await this.#others();
      if (others === null) return;
      const present = new Set(others.map((each) => each.id));
      this.#merged = this.#merged.filter((id) => present.has(id));
      const alive = new Set<string>();
      for (const { id, by, state } of others) {
        if (by === null && (await isAlive(state.owner ?? null, folder))) alive.add(id);
      }
      const left = others.filter((each) => !alive.has(each.by ?? each.id));
      for (const each of left.slice(0, MOST_ADOPTED)) await this.#adopt(each);
    });
  }

  /** All other journals, also those that somebody is taking over; null: one cannot be read. */
  async #others(): Promise<Left[] | null> {
    // Files are renamed meanwhile: then once more.
    for (let attempt = 0; attempt < 5; attempt++) {
      try {
        return await this.#read();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
        this.log(`license usage of other processes not read: ${error}`);
        return null;
      }
    }
    return null;
  }

  async #read(): Promise<Left[]> {
    const folder = this.#folder ?? "";
    const found: Left[] = [];
    const names = await readdir(folder).catch((error) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    for (const name of names) {
      const groups = JOURNAL.exec(name.slice(this.#prefix.length))?.groups;
      if (!name.startsWith(this.#prefix) || groups === undefined) continue;
      const id = groups.id ?? groups.claimed ?? "";
      const path = join(folder, name);
      // Its own is known; if it was claimed, that is what has to be seen.
      if (groups.id === this.#id) continue;
      await access(path);
      const state: Partial<Stored> = await new Store(path, this.log).load();
      found.push({ id, by: groups.by ?? null, path, state });
    }
    return found;
  }

  async #adopt(left: Left): Promise<void> {
    if (this.#hasOneUnderWay(limitsIn(left.state))) return;
    const claimed = this.#pathOf(`claimed-${left.id}-by-${this.#id}`) ?? "";
    try {
      await rename(left.path, claimed);
    } catch {
      return; // another process was faster
    }
    // Now nobody else changes it, and whoever has taken it over before is known.
    const others = await this.#others();
    const state = others?.find((each) => each.path === claimed)?.state;
    if (others === null || state === undefined) {
      await rename(claimed, left.path).catch(() => undefined);
      return;
    }
    if (mergedIn(others).has(left.id) || this.#merged.includes(left.id)) {
      await unlink(claimed).catch(() => undefined);
      return;
    }
    const limits = limitsIn(state);
    if (this.#hasOneUnderWay(limits)) {
      await rename(claimed, left.path).catch(() => undefined);
      return;
    }
    this.#mergeIn(limits, 1);
    const { aside, merged } = { aside: this.#aside, merged: this.#merged };
    this.#aside = [...aside, ...listIn<Aside>(state.aside)].slice(-MOST_ASIDE);
    this.#merged = [...merged, ...listIn<string>(state.merged), left.id];
    if (await this.#save()) {
      await unlink(claimed).catch(() => undefined);
    } else {
      this.#mergeIn(limits, -1);
      this.#aside = aside;
      this.#merged = merged;
      await rename(claimed, left.path).catch(() => undefined);
    }
  }

  /** Whether both have a request of a limit under way: then one after the other. */
  #hasOneUnderWay(limits: [string, Limit][]): boolean {
    const has = limits.some(([key, limit]) => limit.sending && this.#limit(key).sending);
    this.#isMoreLeft ||= has;
    return has;
  }

  /** Add what is in a journal, or (by -1) take it out again: usage may have been added meanwhile. */
  #mergeIn(limits: [string, Limit][], sign: 1 | -1): void {
    for (const [key, limit] of limits) {
      const known = this.#limit(key);
      known.waiting += sign * limit.waiting;
      known.firstAt = known.waiting > 0 ? (known.firstAt ?? limit.firstAt) : null;
      if (sign === 1) known.sending ??= limit.sending;
      else if (known.sending === limit.sending) known.sending = null;
    }
  }

  /** Files that a crash left while they were written. */
  async #removeLitter(folder: string): Promise<void> {
    for (const name of await readdir(folder).catch((): string[] => [])) {
      if (!name.startsWith(this.#prefix) || !LITTER.test(name)) continue;
      const path = join(folder, name);
      const found = await stat(path).catch(() => null);
      if (found !== null && Math.abs(Date.now() - found.mtimeMs) > LITTER_MS) {
        await unlink(path).catch(() => undefined);
      }
    }
  }
}

/** A journal of another process: its own, or one that it was taking over (`by`). */
interface Left {
  id: string;
  by: string | null;
  path: string;
  state: Partial<Stored>;
}

const UUID = "[0-9a-f-]{36}";
const JOURNAL = new RegExp(
  `^\\.(?:journal-(?<id>${UUID})|claimed-(?<claimed>${UUID})-by-(?<by>${UUID}))\\.json$`,
);
const LITTER = new RegExp(`\\.json\\.(?:${UUID}|lock|lock\\.${UUID})$`);

/** What is left of each limit, as far as it can be read. */
function limitsIn(state: Partial<Stored>): [string, Limit][] {
  const found = Object.entries((state.limits ?? {}) as Record<string, Partial<Limit> | null>);
  return found.flatMap(([key, limit]) => {
    const { waiting = 0, firstAt = null, sending = null } = limit ?? {};
    const isSending = typeof sending?.requestKey === "string" && isCount(sending.quantity);
    const read = {
      waiting: isCount(waiting) ? waiting : 0,
      firstAt,
      sending: isSending ? sending : null,
    };
    return read.waiting > 0 || read.sending ? [[key, read]] : [];
  });
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function listIn<T>(value: unknown): T[] {
  return Array.isArray(value) ? value : [];
}

/** Whether a file is there. In doubt it is. */
async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error) => error.code !== "ENOENT",
  );
}

/** The ids of the journals that these contain. */
function mergedIn(journals: readonly Left[]): Set<string> {
  return new Set(journals.flatMap((each) => listIn<string>(each.state.merged)));
}

/** Let a request that is under way wait for another key. */
function wait(limit: Limit, sending: Sending): void {
  limit.waiting += sending.quantity;
  limit.firstAt = sending.firstAt;
}
