/**
 * Whether the process that has something still runs, whatever its number is and in which container.
 *
 * It listens on a socket beside what it has; the kernel closes that with the process, however it ends.
 */

import { readFileSync } from "node:fs";
import { mkdir, unlink } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { hostname, uptime } from "node:os";
import { join } from "node:path";

/** Sockets have short names: 104 bytes on macOS, with the end. */
const LONGEST_PATH = 100;
/** Without a sign of life for so long, a process of another machine has ended. */
const SILENT_MS = 24 * 3_600_000;
/** A process that has usage writes at least every minute. */
const QUIET_MS = 600_000;
const CONNECT_MS = 2_000;

/**
 * Who has something. `socket` is a name beside it, since a folder may have other paths for others;
 * null: it could not listen. `seenAt` is when it last wrote.
 */
export interface Owner {
  machine: string;
  host: string;
  process: number;
  socket: string | null;
  seenAt: number;
}

let machine: string | null = null;

/** This machine since it was booted: containers on it share its kernel, and have names of their own. */
function machineId(): string {
  if (machine === null) {
    try {
      machine = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    } catch {
      machine = hostname();
    }
  }
  return machine;
}

/** The presence of this process, while it has something. */
export class Presence {
  #server: Server | null = null;
  #socket: string | null = null;

  /** Listen in a folder, under a name that nobody else has. */
  async begin(folder: string, name: string): Promise<void> {
    const socket = `${name.slice(0, 12)}.sock`;
    const path = pathOf(folder, socket);
    if (Buffer.byteLength(path) > LONGEST_PATH) return;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const server = createServer((connection) => connection.destroy());
    await new Promise<void>((resolve) => {
      server.once("error", () => resolve());
      server.listen(path, () => {
        this.#server = server;
        this.#socket = socket;
        resolve();
      });
    });
    server.on("error", () => undefined);
    server.unref();
  }

  /** As it is written down. */
  owner(): Owner {
    return {
      machine: machineId(),
      host: hostname(),
      process: process.pid,
      socket: this.#socket,
      seenAt: Date.now(),
    };
  }

  /** Listen no longer. */
  end(): void {
    this.#server?.close();
    this.#server = null;
    this.#socket = null;
  }
}

/** Whether the process that has something in a folder still runs. In doubt it does. */
export async function isAlive(owner: Owner | null, folder: string): Promise<boolean> {
  if (owner === null) return false;
  const silence = Date.now() - owner.seenAt;
  if (owner.machine !== machineId()) {
    // This machine, before it was booted again; or another one, of which nothing can be known.
    const isOurs = owner.host === hostname() && silence > uptime() * 1_000;
    return silence < (isOurs ? QUIET_MS : SILENT_MS);
  }
  if (owner.socket !== null) return answers(pathOf(folder, owner.socket));
  if (owner.host !== hostname()) return silence < SILENT_MS;
  if (owner.process === process.pid) return silence <= process.uptime() * 1_000;
  try {
    process.kill(owner.process, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Where a socket is for this process. */
function pathOf(folder: string, socket: string): string {
  return process.platform === "win32" ? `\\\\.\\pipe\\overdraft-${socket}` : join(folder, socket);
}

/** Whether somebody listens; a socket that nobody has any more is removed. */
async function answers(path: string): Promise<boolean> {
  const connection = connect(path);
  const code = await new Promise<unknown>((resolve) => {
    connection.setTimeout(CONNECT_MS, () => resolve("ETIMEDOUT"));
    connection.once("connect", () => resolve(null));
    connection.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  connection.destroy(); // whoever is stopped does not close it
  // Without its socket nobody is there, unless the path is too long to ask.
  if (code === "ENOENT") return Buffer.byteLength(path) > LONGEST_PATH;
  if (code !== "ECONNREFUSED") return true;
  await unlink(path).catch(() => undefined);
  return false;
}
