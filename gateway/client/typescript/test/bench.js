// How long a task takes from its creation to its result, and an event from its creation to
// the reader, with a whole mesh at MESH_URL: medians in milliseconds.
import process from "node:process";
import { Mesh } from "../index.js";

const mesh = new Mesh();
const median = (all) => all.sort((a, b) => a - b)[all.length >> 1];
const took = async (work) => {
  const began = performance.now();
  await work();
  return performance.now() - began;
};
const results = [];
const events = [];
for (let n = 0; n < Number(process.argv[2]); n++) {
  results.push(await took(async () => (await mesh.tasks.create({ agent: "echo", input: n }, { wait: 10 })).result()));
  events.push(await took(async () => {
    for await (const _ of (await mesh.tasks.create({ agent: "echo", input: n })).events()) break;
  }));
}
console.log(JSON.stringify({ result: median(results), first_event: median(events) }));
