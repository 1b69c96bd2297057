// The stack in memory of the TypeScript client, for scenarios: a command for each line of input.
import { createInterface } from "node:readline";
import { FakeStack } from "../typescript/dist/esm/testing.js";

const stack = new FakeStack(0);
let key;

const actions = {
  sell(given) {
    key = stack.sell(given.sale);
    return key;
  },
  async request({ method, path, headers, body }) {
    const init = { method, headers, ...(body !== null && { body }) };
    const answer = await stack.fetch(stack.url + path, init);
    return [answer.status, Object.fromEntries(answer.headers), await answer.text()];
  },
  status(given) {
    stack.of(key).status = given.status;
  },
  revoke: () => stack.revoke(key),
  counts() {
    stack.freeExpired(key);
    const sold = stack.of(key);
    return { held: sold.held.size, used: Object.fromEntries(sold.used) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  stack.now = given.time;
  const result = await actions[given.do](given);
  process.stdout.write(`${JSON.stringify({ result: result ?? null })}\n`);
}
