// Plays the conformance list: each line of standard input is a case, and each line of
// standard output what came of one.
import process from "node:process";
import { createInterface } from "node:readline";
import { Mesh, MeshError, TaskCanceled, TaskFailed } from "../index.js";

const shown = ({ type, id, text, data }) => `${type} ${id} ${text ?? data.status ?? data.name ?? ""}`;

async function play(mesh, { do: what, id, body, key, wait, query }) {
  switch (what) {
    case "create": {
      const task = await mesh.tasks.create(body, { idempotencyKey: key, wait });
      return { id: task.id, status: task.status };
    }
    case "get": {
      const task = await mesh.tasks.get(id);
      return { id: task.task_id, status: task.status };
    }
    case "cancel": {
      const task = await mesh.tasks.handle(id).cancel();
      return { id: task.id, status: task.status };
    }
    case "result":
      return { result: await mesh.tasks.handle(id).result() };
    case "list": {
      const ids = [];
      for await (const task of mesh.tasks.list(query)) ids.push(task.task_id);
      return { ids };
    }
  }
  const events = [];
  for await (const event of mesh.tasks.events(id)) events.push(shown(event));
  return { events };
}

async function one(line) {
  const { base, call } = JSON.parse(line);
  let came;
  try {
    came = await play(new Mesh({ url: base, apiKey: "amk_test" }), call);
  } catch (error) {
    if (error instanceof TaskFailed) came = { failed: error.code };
    else if (error instanceof TaskCanceled) came = { canceled: true };
    else if (error instanceof MeshError) came = { error: { status: error.status, code: error.code, ...(error.errors.length && { pointers: error.errors.map((e) => e.pointer) }) } };
    else came = { error: `${error.stack}` };
  }
  process.stdout.write(JSON.stringify({ base, came }) + "\n");
}

createInterface({ input: process.stdin }).on("line", (line) => void one(line));
