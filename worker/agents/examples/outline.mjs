#!/usr/bin/env node
// Summarizes each chapter of a document by calling another agent of the mesh, and
// joins the answers. What it calls are its children: one trace, canceled together, and
// found again when this task is retried.
import { agent, serve } from "../../agent/typescript/index.js"; // "@agentmesh/agent" once it is installed

agent("outline", async (job) => {
  const chapters = job.input?.chapters ?? [];
  const outline = [];
  for (const [i, text] of chapters.entries()) {
    const { summary } = await job.call("summarize", { text, sentences: 1 });
    outline.push(summary);
    job.progress(Math.floor(((i + 1) * 100) / chapters.length), `chapter ${i + 1}`);
  }
  return { outline };
});

await serve();
