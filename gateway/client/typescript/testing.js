// @ts-check
// A mesh in memory, for the tests of programs that call one.
//
//	const mesh = new FakeMesh({ agents: { echo: (job) => job.input } });
//	const task = await mesh.tasks.create({ agent: "echo", input: 1 });
//	assert.equal(await task.result(), 1);
//	assert.equal(mesh.asked[0].body.input, 1);
//
// It is the client itself over a gateway of this process. Tasks, actions and sessions run;
// routes say what else is answered.
import { Mesh } from "./index.js";
import { Gateway } from "./lib/fake.js";
import { Refusal } from "./lib/fake_answers.js";

export { Refusal };

export class FakeMesh extends Mesh {
  /** @param {any} [options] */
  constructor({ agents = {}, routes = {}, ...more } = {}) {
    const gateway = new Gateway(agents, routes);
    super({ url: "http://mesh.test", apiKey: "amk_test", ...more, fetch: (/** @type {any} */ url, /** @type {any} */ options) => gateway.fetch(url, options) });
    this.gateway = gateway;
  }

  /** The requests so far: method, path, query, headers, body. */
  get asked() {
    return this.gateway.asked;
  }

  /** Has the next requests be refused. @param {...any} problems */
  refuse(...problems) {
    this.gateway.refusals.push(...problems.map(({ status, code, ...more }) => new Refusal(status, code, more)));
  }
}
