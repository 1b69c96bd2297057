/** What has to be done when the process ends. */

/** How long SIGTERM waits for seats to be given back: orchestrators kill after 30 seconds. */
const SIGTERM_MS = 15_000;

interface Closed {
  close(): Promise<void>;
}

/** Clients that are closed when a process has nothing left to do. */
class AtEndOfProcess extends Set<Closed> {
  #isRegistered = false;

  override add(client: Closed): this {
    if (!this.#isRegistered) {
      this.#isRegistered = true;
      // It is emitted again after what is begun here: then there is nothing left.
      process.on("beforeExit", () => {
        for (const each of [...this]) void each.close();
      });
    }
    return super.add(client);
  }
}

/** Clients that are closed when the process is told to end. */
class OnSigterm extends Set<Closed> {
  #handler: (() => void) | null = null;

  override add(client: Closed): this {
    if (this.#handler === null) {
      this.#handler = () => void this.#end();
      process.on("SIGTERM", this.#handler);
    }
    return super.add(client);
  }

  async #end(): Promise<void> {
    const closing = Promise.allSettled([...this].map((each) => each.close()));
    const late = new Promise((resolve) => setTimeout(resolve, SIGTERM_MS).unref());
    await Promise.race([closing, late]);
    if (this.#handler !== null) process.removeListener("SIGTERM", this.#handler);
    this.#handler = null;
    // Without a handler of the program's own, what would have happened without us.
    if (process.listenerCount("SIGTERM") === 0) process.kill(process.pid, "SIGTERM");
  }
}

export const atEndOfProcess = new AtEndOfProcess();
export const onSigterm = new OnSigterm();
