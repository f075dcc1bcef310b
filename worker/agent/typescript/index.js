// @ts-check
// Agents of the mesh in JavaScript: a function, run as a program for each task, as a
// program that stays, or as an HTTP service.
//
//	import { agent, serve } from "@agentmesh/agent";
//
//	agent("shout", async (job) => {
//	  job.progress(50, "warming up");
//	  return (job.instruction ?? "").toUpperCase();
//	});
//	await serve();
//
// It needs Node only. What a handler prints goes to standard error, so that nothing is
// taken for output by mistake; job.output is output.
import process from "node:process";
import { listen } from "./lib/http.js";
import { Program } from "./lib/program.js";

export { AgentError, Canceled, ChildFailed, InputTimeout, Permanent, StepFailed, Suspended } from "./lib/errors.js";
export { Job, Reply } from "./lib/job.js";
export { listen } from "./lib/http.js";

/** @type {Map<string, any>} */
const registered = new Map();

/**
 * Makes a function the handler of an agent.
 * @param {string} name
 * @param {any} options
 * @param {any} [handler]
 */
export function agent(name, options, handler) {
  if (typeof options === "function") [options, handler] = [{}, options];
  if (registered.has(name)) throw new Error(`there are two agents ${name}`);
  const { description = "", version = "", inputSchema } = options;
  const one = { name, description, version, inputSchema, handler };
  registered.set(name, one);
  return one;
}

/** What a program has, as --describe prints it. */
export function describe(agents = [...registered.values()]) {
  return {
    agents: agents.map((a) => ({
      name: a.name,
      ...(a.description && { description: a.description }),
      ...(a.version && { version: a.version }),
      ...(a.inputSchema && { input_schema: a.inputSchema }),
    })),
  };
}

/**
 * Runs the agents of this program, all that are registered when none is named, as its
 * environment says: MESH_AGENT_LISTEN (host:port) as a service, MESH_POOL one task after
 * the other, and else one task.
 * @param {any} [options]
 */
export async function serve(options = {}) {
  const agents = options.agents ?? [...registered.values()];
  const { MESH_AGENT_LISTEN, MESH_AGENT_TOKEN, MESH_SLOTS, MESH_POOL } = process.env;
  if (process.argv.slice(2).includes("--describe")) {
    console.log(JSON.stringify(describe(agents), null, 2));
  } else if (MESH_AGENT_LISTEN) {
    const service = await listen(agents, { address: MESH_AGENT_LISTEN, token: MESH_AGENT_TOKEN, slots: Number(MESH_SLOTS ?? 0) });
    process.stderr.write(`listening on ${service.address}\n`);
    if (!MESH_AGENT_TOKEN && !/^(127\.0\.0\.1|\[::1\]):/.test(service.address)) {
      process.stderr.write("anybody who reaches it may run it: set MESH_AGENT_TOKEN, and the header Authorization in agents.yaml\n");
    }
    process.once("SIGTERM", () => service.close());
    await service.closed;
  } else if (process.stdin.isTTY) {
    process.stderr.write("an agent of the mesh: it reads a task from standard input. Run it by agents.yaml, or set MESH_AGENT_LISTEN=127.0.0.1:9000 to run it as a service\n");
    process.exitCode = 1;
  } else {
    await new Program(agents, Boolean(MESH_POOL), Boolean(options.rawOutput)).run();
  }
}
