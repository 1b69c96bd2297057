// The service's time: the reader's clock may be wrong.

let ahead = 0;

/** Set the clock by a time that the service has just answered, Unix milliseconds. */
export function setNow(at: number): void {
  ahead = Date.now() - at;
}

/** The service's time, Unix milliseconds. */
export const now = () => Date.now() - ahead;
