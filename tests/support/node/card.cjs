// Reads Adaptive Cards, one on each line, and answers what the library of their maker finds wrong.
const { AdaptiveCard, SerializationContext } = require("adaptivecards/dist/adaptivecards.js");

function wrong(source) {
  const card = new AdaptiveCard();
  const context = new SerializationContext();
  card.parse(source, context);
  const found = card.validateProperties().validationEvents.map((event) => event.message);
  for (let number = 0; number < context.eventCount; number++)
    found.push(context.getEventAt(number).message);
  return found;
}

const lines = require("node:fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
console.log(JSON.stringify(lines.map((line) => wrong(JSON.parse(line)))));
