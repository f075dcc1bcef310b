// Two agents, to be described.
import { agent, serve } from "../../agent/typescript/index.js";

const inputSchema = { type: "object", properties: { topic: { type: "string", pattern: "^${a}" } }, required: ["topic"] };
agent("research", { description: "Costs ${PRICE}: yes", version: "1.0", inputSchema }, (job) => job.input.topic);
agent("plain", () => 1);
console.error("a library says hello");
await serve();
