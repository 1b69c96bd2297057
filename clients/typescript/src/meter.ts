/** Meters: usage that is added up in the process, and sent once a second. */

import type { Aside, Journal } from "./journal.js";
import type { Log } from "./log.js";

const SHORTEST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
const LOOK_MS = 61_000;

export interface MeterOptions {
  /** How often usage is sent, in milliseconds. By default 1,000. */
  intervalMs?: number;
  /** It is sent as soon as there is so much. By default 1,000. */
  units?: number;
  /** Called with usage that the stack has refused. */
  onRefused?: (aside: Aside) => unknown;
}

/**
 * Adds up the usage of one limit, and sends it in the background.
 *
 * `add` never waits for the network or the disk. A crash loses at most what was added since usage was
 * last sent. While the stack is out of reach it is stored, and sent later; nothing counts twice.
 */
export class Meter {
  readonly #intervalMs: number;
  readonly #units: number;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #dueAt = 0;
  #closing: Promise<boolean> | null = null;
  /** The flush that is under way. */
  #flushing: Promise<boolean> | null = null;
  #retryAt = 0;
  #waitMs = 0;

  constructor(
    /** The key of the usage limit. */
    readonly key: string,
    private readonly journal: Journal,
    private readonly options: MeterOptions,
    private readonly log: Log,
  ) {
    this.#intervalMs = options.intervalMs ?? 1_000;
    this.#units = options.units ?? 1_000;
    this.#schedule(0); // what an earlier process has left
  }

  /** Count so much more. */
  add(quantity = 1): void {
    if (!Number.isSafeInteger(quantity) || quantity < 1) {
      throw new RangeError("quantity must be a whole number, at least 1");
    }
    if (this.isClosed) throw new Error("the meter is closed");
    const waiting = this.journal.add(this.key, quantity);
    // Many units do not ask a stack that is out of reach more often.
    const isFree = this.#flushing === null && performance.now() >= this.#retryAt;
    const isFull = waiting >= this.#units && isFree;
    this.#schedule(isFull ? 0 : this.#intervalMs);
  }

  /** Usage of this limit that the stack has refused, and that is not sent again. */
  get aside(): Aside[] {
    return this.journal.aside(this.key);
  }

  /** Forget what was set aside, once somebody has seen to it. */
  async forgetAside(): Promise<void> {
    await this.journal.forgetAside(this.key);
  }

  /** Send what is there now; false: something is left, since the stack is out of reach or the disk full. */
  async flush(): Promise<boolean> {
    while (this.#flushing !== null) await this.#flushing.catch(() => false);
    const sending = this.journal.send(this.key, this.options.onRefused);
    this.#flushing = sending;
    try {
      return await sending;
    } finally {
      this.#flushing = null;
    }
  }

  /**
   * Send what is there, once, and stop; whether the stack was in reach.
   *
   * What cannot be sent is for the next process.
   *
   * @param tries False: it is not tried.
   */
  close(tries = true): Promise<boolean> {
    this.#closing ??= this.#close(tries);
    return this.#closing;
  }

  /** @internal */
  get isClosed(): boolean {
    return this.#closing !== null;
  }

  async #close(tries: boolean): Promise<boolean> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const wasReached = this.#flushing === null || (await this.#flushing.catch(() => false));
    return tries && wasReached ? this.flush() : false;
  }

  /** Look after what is there so much later; sooner, if that is planned already. */
  #schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (this.isClosed || (this.#timer !== null && this.#dueAt <= dueAt)) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => void this.#run(), ms);
    this.#timer.unref?.();
  }

  async #run(): Promise<void> {
    this.#timer = null;
    let isSent = false;
    if (this.#flushing !== null || performance.now() < this.#retryAt) {
      await this.journal.save(); // what was added meanwhile
    } else {
      try {
        isSent = await this.flush();
      } catch (error) {
        this.log(`license usage not sent: ${error}`); // never the end of the meter
      }
      this.#waitMs = isSent ? 0 : nextWait(this.#waitMs);
      this.#retryAt = performance.now() + this.#waitMs;
    }
    // What others have left is looked for even if nothing is added.
    this.#schedule(isSent ? LOOK_MS : Math.max(this.#intervalMs, 100));
  }
}

/** Milliseconds until the next try while the stack is out of reach: longer each time. */
function nextWait(before: number): number {
  const longest = Math.min(LONGEST_RETRY_MS, Math.max(SHORTEST_RETRY_MS, before) * 2);
  return SHORTEST_RETRY_MS + Math.random() * (longest - SHORTEST_RETRY_MS);
}
