#!/usr/bin/env node
// An agent that keeps steps: it makes two accounts at once, lets some time pass, asks
// a person, and sends a welcome.
//
// It may be killed at any moment: it is started again from its top, and what it has
// done is not done again. LEDGER stands for the world outside: a file that each effect
// adds a line to.
import { appendFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { agent, serve } from "../../agent/typescript/index.js"; // "@agentmesh/agent" once it is installed

// Something that must not be done twice, done under a key.
const effect = (name) => async ({ key }) => {
  appendFileSync(process.env.LEDGER ?? "/dev/null", name + "\n");
  await pause(Number(process.env.DWELL ?? 0) * 1000);
  return `${name} by ${key}`;
};

agent("onboard", async (job) => {
  const accounts = await Promise.all(["mail", "wiki"].map((name) => job.step(name, effect(name))));
  await job.sleep("first-day", process.env.COOL_DOWN ?? "10m");
  const welcome = await job.ask("approve", "Send a welcome?", { schema: { type: "boolean" }, timeout: "48h" });
  const sent = welcome ? await job.step("welcome", effect("welcome")) : null;
  return { accounts, sent };
});

await serve();
