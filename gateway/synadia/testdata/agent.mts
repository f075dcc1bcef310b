// The official TypeScript agent: agent.mts NATS-URL. It answers prompts by their text.
import { connect } from "@nats-io/transport-node";
import { AgentService } from "@synadia-ai/agent-service";

const nc = await connect({ servers: process.argv[2] });
const service = new AgentService({ nc, agent: "coder", owner: "alice", name: "repo", heartbeatIntervalS: 1, description: "Answers by the text" });
service.onPrompt(async (envelope, response) => {
  console.log("prompt", envelope.prompt);
  if (envelope.prompt === "ask") {
    const answer = await response.ask("Which branch?", { timeoutMs: 60_000 });
    await response.send("on " + answer.prompt);
  } else if (envelope.prompt === "stall") {
    await new Promise(() => {});
  } else if (envelope.prompt === "fail") {
    throw new Error("no luck");
  } else {
    await response.send("you said ");
    await response.send(envelope.prompt + (envelope.attachments ?? []).map((a) => " " + a.filename).join(""));
  }
});
await service.start();
console.log("ready");
