// The trace of the caller, as a program has it that has installed both packages.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

test("the trace of the caller is passed on where OpenTelemetry is", () => {
  const dir = mkdtempSync(join(tmpdir(), "agentmesh-"));
  try {
    const client = join(dir, "node_modules/@agentmesh/client");
    cpSync(fileURLToPath(new URL("..", import.meta.url)), client, { recursive: true, filter: (from) => !/test$|node_modules$/.test(from) });
    const otel = join(dir, "node_modules/@opentelemetry/api");
    mkdirSync(otel, { recursive: true });
    writeFileSync(join(otel, "package.json"), '{"type":"module","main":"index.js"}');
    writeFileSync(join(otel, "index.js"), `
      export const context = { active: () => "00-a-b-01" };
      export const propagation = { inject: (active, carrier) => Object.assign(carrier, { traceparent: active, tracestate: "x=1" }) };`);
    writeFileSync(join(dir, "main.mjs"), `
      import { FakeMesh } from "@agentmesh/client/testing";
      const mesh = new FakeMesh({ agents: { echo: (job) => job.input } });
      const task = await mesh.tasks.create({ agent: "echo", input: 1 }, { headers: { tracestate: "mine" } });
      for await (const _ of task.events());
      console.log(JSON.stringify(mesh.asked.map(({ headers }) => [headers.traceparent, headers.tracestate])));`);
    const out = execFileSync(process.execPath, ["main.mjs"], { cwd: dir, encoding: "utf8" });
    assert.deepEqual(JSON.parse(out), [["00-a-b-01", "mine"], ["00-a-b-01", "x=1"]]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
