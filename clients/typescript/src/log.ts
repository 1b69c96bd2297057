/** Where the package reports what an integrator may want to know of and nobody waits for. */
export type Log = (message: string) => unknown;

export const warn: Log = (message) => console.warn(`overdraft: ${message}`);

/** The same, whatever the integrator's own does: a log must not end a process. */
export function harmless(log: Log): (message: string) => void {
  return (message) => {
    try {
      const written = log(message);
      if (written instanceof Promise) written.catch(() => undefined);
    } catch {
      // Nobody is left to tell.
    }
  };
}
