// What a handler may have to live with. The instruction says which.
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { Permanent, agent, serve } from "../../agent/typescript/index.js";

agent("hostile", async (job) => {
  const what = job.input ?? {};
  switch (what.do) {
    case "print":
      console.log('{"type":"result","result":"printed"}');
      console.log("loading a model");
      process.stdout.write('{"type":"error","message":"from a library"}\n');
      return "the result";
    case "echo":
      return { text: what.text, sha: createHash("sha256").update(what.text).digest("hex") };
    case "chunks":
      for (const piece of what.text) job.output(piece);
      return;
    case "cancel":
      job.output("here");
      await new Promise((resolve) => (job.canceled ? resolve() : job.signal.addEventListener("abort", resolve)));
      writeFileSync(what.file, "canceled");
      job.progress(1);
      return "went on";
    case "stubborn":
      job.output("here");
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      return "went on";
    case "exit":
      throw new Error("SystemExit: 0");
    case "never":
      throw new Permanent("never", { code: "no_way" });
    case "killed": {
      const ran = (name) => () => (appendFileSync(what.file, name + "\n"), name);
      const first = await job.step("first", ran("first"));
      if (!existsSync(what.file + ".killed")) {
        writeFileSync(what.file + ".killed", "");
        process.kill(process.pid, "SIGKILL");
      }
      return [first, await job.step("second", ran("second"))];
    }
  }
  return what.do;
});

await serve();
