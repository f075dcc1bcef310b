#!/usr/bin/env node
// An agent that keeps steps: it makes two accounts at once, lets some time pass, asks
// a person, and sends a welcome.
//
// It may be killed at any moment: it is started again from its top, and what it has
// done is not done again. LEDGER stands for the world outside: a file that each effect
// adds a line to.
import { appendFileSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const tell = (message) => process.stdout.write(JSON.stringify(message) + "\n");

// The first line is the task; the input stays open for the words that steps are kept.
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const task = JSON.parse((await lines.next()).value);
const past = (name) => task.steps?.find((s) => s.name === name && s.n === 0);

// The words come in the order of the steps, whoever waits for them.
let words = Promise.resolve();
const kept = () => (words = words.then(() => lines.next()));

// What work returned: now, or in the run that did it.
const step = async (name, work) => {
  const known = past(name);
  if (known && !known.kind) return known.value;
  const value = await work(`${task.task_id}.${name}.0`);
  tell({ type: "step", name, n: 0, value, ack: true });
  await kept();
  return value;
};

const end = () => new Promise(() => process.stdout.write("", () => process.exit()));

// What came of a wait. As long as nothing has, the program ends here.
const wait = async (message) => {
  const known = past(message.name);
  if (!known) tell(message);
  if (known?.error) tell({ type: "error", retryable: false, ...known.error });
  if (!known || known.error) await end();
  return known.value;
};

// Something that must not be done twice, done under a key.
const effect = (name) => async (key) => {
  appendFileSync(process.env.LEDGER ?? "/dev/null", name + "\n");
  await pause(Number(process.env.DWELL ?? 0) * 1000);
  return `${name} by ${key}`;
};

const accounts = await Promise.all(["mail", "wiki"].map((name) => step(name, effect(name))));
await wait({ type: "sleep", name: "first-day", for: process.env.COOL_DOWN ?? "10m" });
const welcome = await wait({ type: "ask", name: "approve", prompt: "Send a welcome?", schema: { type: "boolean" }, timeout: "48h" });
const sent = welcome ? await step("welcome", effect("welcome")) : null;
tell({ type: "result", result: { accounts, sent } });
await end();
