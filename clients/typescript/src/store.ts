/**
 * What must survive a restart: signed leases, pinned keys, the latest time that was seen.
 *
 * One JSON file for each stack and key, in the user's state directory. It is replaced as a whole,
 * under a lock, so a crash leaves the old one or the new one. A file that cannot be read is set aside.
 * Nothing of it is secret. A signed lease proves itself; everything else can only be lost.
 */

import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { Log } from "./log.js";
import { pause } from "./requests.js";

const LOCK_MS = 2_000;
/** A lock that is older was left by a process that crashed: writing takes a moment. */
const STALE_MS = 10_000;
const FORM = 1;

export type State = Record<string, unknown>;

function codeOf(error: unknown): unknown {
  return (error as NodeJS.ErrnoException).code;
}

export class Store {
  /** Changes of this process, one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param path Null: nothing is stored. */
  constructor(
    readonly path: string | null,
    private readonly log: Log,
  ) {}

  /** The store of a stack and a key, by default in the user's state directory. */
  static of(folder: string | undefined, url: string, keyId: string, log: Log): Store {
    const name = createHash("sha256").update(`${url}\0${keyId}`).digest("hex").slice(0, 24);
    let place = folder;
    try {
      place ??= stateFolder();
    } catch (error) {
      // A user without a home directory.
      log(`license state is not stored: ${error}`);
      return new Store(null, log);
    }
    return new Store(join(place, `${name}.js.json`), log);
  }

  /** The state; empty if there is none, or none that can be read. */
  async read(): Promise<State> {
    try {
      return await this.load();
    } catch (error) {
      this.log(`license state not read: ${error}`);
      return {};
    }
  }

  /** Change the state by a function that edits it; whether it is stored. Never throws. */
  change(edit: (state: State) => void): Promise<boolean> {
    const done = this.#last.then(() => this.#change(edit));
    this.#last = done;
    return done;
  }

  /** Whatever was changed until now is stored, or was reported. */
  async settled(): Promise<void> {
    await this.#last;
  }

  async #change(edit: (state: State) => void): Promise<boolean> {
    if (this.path === null) return false;
    try {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      const unlock = await lock(`${this.path}.lock`);
      try {
        const state = await this.load();
        edit(state);
        await this.#write(this.path, state);
      } finally {
        await unlock();
      }
      return true;
    } catch (error) {
      this.log(`license state not written: ${error}`);
      return false;
    }
  }

  /**
   * The state; empty if there is none, or a damaged one, which is set aside.
   *
   * @throws There is one, and it may well be good, but it could not be read.
   */
  async load(): Promise<State> {
    if (this.path === null) return {};
    let text: string;
    try {
      text = await readFile(this.path, "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return {};
      throw error;
    }
    try {
      const stored = JSON.parse(text);
      if (stored.form !== FORM || stored.sum !== sumOf(JSON.stringify(stored.state))) {
        throw new Error("its checksum or its form is another");
      }
      if (typeof stored.state !== "object" || stored.state === null) {
        throw new Error("its state is no object");
      }
      return stored.state;
    } catch (error) {
      const aside = this.path.replace(/\.json$/, `.unreadable-${Date.now()}`);
      this.log(`license state cannot be read (${error}): kept as ${aside}`);
      await rename(this.path, aside).catch(() => undefined);
      return {};
    }
  }

  async #write(path: string, state: State): Promise<void> {
    const text = JSON.stringify({ form: FORM, sum: sumOf(JSON.stringify(state)), state });
    const temporary = `${path}.${randomUUID()}`;
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      throw error;
    }
  }
}

function sumOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Hold a lock file; the function that gives it back. */
async function lock(path: string): Promise<() => Promise<void>> {
  const until = performance.now() + LOCK_MS;
  for (;;) {
    try {
      await (await open(path, "wx")).close();
      return async () => {
        await unlink(path).catch(() => undefined);
      };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
      await removeStale(path);
      if (performance.now() > until) throw new Error(`${path} is held by another process`);
      await pause(10 + Math.random() * 20);
    }
  }
}

/** Remove a lock that nobody has any more, unless another process has made it anew meanwhile. */
async function removeStale(path: string): Promise<void> {
  if (!(await isStale(path))) return;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    if (!(await isStale(aside))) await link(aside, path);
    await unlink(aside);
  } catch {
    // Another process was faster.
  }
}

/** Whether a lock is older than any writing takes; one from the future was left before a clock was set. */
async function isStale(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  return found !== null && Math.abs(Date.now() - found.mtimeMs) > STALE_MS;
}

/** Where this system keeps the state of programs. */
function stateFolder(): string {
  const { env, platform } = process;
  if (platform === "win32") {
    return join(env.LOCALAPPDATA || join(homedir(), "AppData", "Local"), "overdraft");
  }
  if (platform === "darwin") return join(homedir(), "Library", "Application Support", "overdraft");
  return join(env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "overdraft");
}
