// The TypeScript client as scenarios use it: a command for each line of input, an answer for each.
//
// `node clients/conformance/typescript_client.mjs`; see README.md for the commands.
import { createInterface } from "node:readline";
import { Clock, Overdraft, OverdraftError } from "../typescript/dist/esm/index.js";

let ms = 0;
let client;
let look;
const seats = new Map();
const changes = new Map();

const actions = {
  async open(given) {
    client = new Overdraft(given.url, {
      licenseKey: given.licenseKey,
      offline: given.offline ?? "grace",
      ...(given.grace && { graceMs: period(given.grace) }),
      state: given.state,
      retry: { timeoutMs: 2_000, baseMs: 1, longestMs: 2 },
      clock: new Clock(() => ms),
      log: () => undefined,
    });
    // Scenarios say when it looks after its seats.
    look = client.keeper.look.bind(client.keeper);
    client.keeper.look = async () => undefined;
    for (const key of given.meters ?? []) {
      const meter = client.meter(key, { intervalMs: 3_600_000, units: 1e9 });
      // A new meter sends what others have left, by itself: here, before anything else is done.
      if (!given.races) await meter.flush();
    }
  },
  async keep(given) {
    const noted = [];
    changes.set(given.seat, noted);
    const seat = await client.seat(given.seat, {
      ...(given.leasePeriod && { leasePeriod: given.leasePeriod }),
      onChange: (_, change) => noted.push(change.kind),
      releaseOnSigterm: given.releaseOnSigterm ?? false,
    });
    seats.set(given.seat, seat);
    return actions.seat(given);
  },
  seat(given) {
    const seat = seats.get(given.seat);
    return {
      source: seat.source,
      isValid: seat.isValid,
      isOverdraft: seat.isOverdraft,
      refusal: seat.refusal?.type ?? null,
      used: seat.seats?.used ?? null,
    };
  },
  look: () => look(),
  renew: (given) => seats.get(given.seat).renew(),
  release: (given) => seats.get(given.seat).release(),
  changes: (given) => changes.get(given.seat).splice(0),
  async take(given) {
    const taken = await client.take(given.seat);
    return { isOverdraft: taken.isOverdraftSeat, used: taken.seats.used };
  },
  async consume(given) {
    const { requestKey, journaled } = given;
    const options = { ...(requestKey && { requestKey }), ...(journaled && { journaled }) };
    const consumed = await client.consume(given.of, given.quantity, options);
    return { used: consumed.usage.used, isOverdraft: consumed.isOverdraft };
  },
  makeKey: () => client.newRequestKey(),
  add: (given) => client.meter(given.of).add(given.quantity),
  save: (given) => client.meter(given.of).journal.save(),
  flush: (given) => client.meter(given.of).flush(),
  aside: (given) => client.meter(given.of).aside.map(({ quantity, type }) => ({ quantity, type })),
  close: () => client.close(),
};

async function outcome(given) {
  try {
    return await actions[given.do](given);
  } catch (error) {
    if (!(error instanceof OverdraftError)) throw error;
    return { error: error.name, ...("type" in error && { type: error.type }) };
  }
}

/** The milliseconds of a period of ISO 8601. */
function period(text) {
  const [, ...parts] = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/.exec(text);
  const units = [86_400_000, 3_600_000, 60_000, 1_000];
  return units.reduce((sum, unit, index) => sum + Number(parts[index] ?? 0) * unit, 0);
}

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const given = JSON.parse(line);
  ms = given.time;
  const done = outcome(given);
  const result = given.goesOn ? null : await done;
  process.stdout.write(`${JSON.stringify({ result: result ?? null })}\n`);
}
