/** Where the package reports what an integrator may want to know of and nobody waits for. */
export type Log = (message: string) => void;

export const warn: Log = (message) => console.warn(`overdraft: ${message}`);
