#!/usr/bin/env node
// Summarizes each chapter of a document by calling another agent of the mesh,
// and joins the answers. A task that is started with the Mesh-Parent-Task header
// is this one's child: one trace, canceled together, and found again when this
// task is retried.
import process from "node:process";

const send = (message) => process.stdout.write(JSON.stringify(message) + "\n");

let text = "";
for await (const chunk of process.stdin) text += chunk;
const task = JSON.parse(text);
const chapters = task.input?.chapters ?? [];

// A mesh that asks who calls knows this attempt by its key.
const who = process.env.MESH_API_KEY ? { Authorization: `Bearer ${process.env.MESH_API_KEY}` } : {};

const summarize = async (chapter) => {
  const headers = {
    "Content-Type": "application/json",
    "Mesh-Parent-Task": task.task_id,
    Traceparent: process.env.TRACEPARENT,
    Prefer: "wait=30",
    ...who,
  };
  const body = JSON.stringify({ agent: "summarize", input: { text: chapter, sentences: 1 } });
  let answer = await fetch(`${process.env.MESH_GATEWAY_URL}/tasks`, { method: "POST", headers, body });
  let child = await answer.json();
  while (answer.ok && !child.done) {
    answer = await fetch(`${process.env.MESH_GATEWAY_URL}/tasks/${child.task_id}`, { headers: { Prefer: "wait=30", ...who } });
    child = await answer.json();
  }
  if (child.status !== "completed") throw new Error(`summarize: ${child.error?.message ?? child.detail}`);
  return child.result.summary;
};

try {
  const outline = [];
  for (const [i, chapter] of chapters.entries()) {
    outline.push(await summarize(chapter));
    send({ type: "progress", percent: Math.floor(((i + 1) * 100) / chapters.length), message: `chapter ${i + 1}` });
  }
  send({ type: "result", result: { outline } });
} catch (error) {
  send({ type: "error", code: "call_failed", message: error.message });
}
