// The client of others for A2A 0.3, unchanged: node client03.mjs BASE BINDING.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { ClientFactory } from 'a2a-sdk-03/client';

const [base, binding] = process.argv.slice(2);
// Cards of the mesh are those of 1.0: who speaks 0.3 is given the URL.
const clientOf = (agent) =>
  new ClientFactory().createFromAgentCard({
    name: agent, description: agent, version: '1', protocolVersion: '0.3.0', skills: [], defaultInputModes: [], defaultOutputModes: [],
    capabilities: { streaming: true, pushNotifications: true },
    url: `${base}/agents/${agent}/a2a${binding === 'JSONRPC' ? '/rpc' : ''}`, preferredTransport: binding,
  });
const message = (text, more = {}, configuration = { blocking: true }) => ({
  message: { kind: 'message', messageId: randomUUID(), role: 'user', parts: [{ kind: 'text', text }], ...more }, configuration,
});

const says = await clientOf('says');
const done = await says.sendMessage(message('hello'));
assert.equal(done.kind, 'task');
assert.equal(done.status.state, 'completed');
assert.deepEqual(done.artifacts[0].parts[0].text, 'hello');
assert.deepEqual((await says.sendMessage(message('', { parts: [{ kind: 'data', data: { n: 1 } }] }))).artifacts[0].parts[0].data, { n: 1 });

const seen = [];
for await (const event of says.sendMessageStream(message('streamed'))) seen.push(event);
assert.equal(seen[0].kind, 'task');
if (seen.length > 1) assert.ok(seen.at(-1).kind === 'status-update' && seen.at(-1).final && seen.at(-1).status.state === 'completed', JSON.stringify(seen));

let polled = await says.sendMessage(message('later', {}, { blocking: false }));
for (let i = 0; i < 500 && polled.status.state !== 'completed'; i++) {
  await new Promise((resolve) => setTimeout(resolve, 20));
  polled = await says.getTask({ id: polled.id });
}
assert.equal(polled.status.state, 'completed');

const asking = await clientOf('asks');
const question = await asking.sendMessage(message('x'));
assert.equal(question.status.state, 'input-required');
assert.equal(question.status.message.parts[0].text, 'Are you sure?');
const answered = await asking.sendMessage(message('yes', { taskId: question.id, contextId: question.contextId }));
assert.equal(answered.status.state, 'completed');

const holding = await clientOf('holds');
const held = await holding.sendMessage(message('x', {}, { blocking: false }));
assert.equal((await holding.cancelTask({ id: held.id })).status.state, 'canceled');
const push = { taskId: held.id, pushNotificationConfig: { id: 'p', url: 'http://127.0.0.1:9/' } };
assert.equal((await holding.setTaskPushNotificationConfig(push)).pushNotificationConfig.url, push.pushNotificationConfig.url);
assert.equal((await holding.listTaskPushNotificationConfig({ id: held.id })).length, 1);
await holding.deleteTaskPushNotificationConfig({ id: held.id, pushNotificationConfigId: 'p' });

const failing = async (what, promise) => {
  const error = await promise.then(() => assert.fail(`${what} does not fail`), (e) => e);
  return error.constructor.name;
};
assert.match(await failing('an unknown task', says.getTask({ id: 'tsk_01a20cd9e03b7276be6a181888e33e52' })), /TaskNotFound/);
assert.match(await failing('a canceled task', holding.cancelTask({ id: held.id })), /TaskNotCancelable/);
console.log('all good');
process.exit(0);
