// The A2A client of others, unchanged: node client.mjs BASE BINDING.
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { randomUUID } from 'node:crypto';
import { ClientFactory, ClientFactoryOptions } from '@a2a-js/sdk/client';

const [base, binding] = process.argv.slice(2);
const factory = new ClientFactory(ClientFactoryOptions.createFrom(ClientFactoryOptions.default, { preferredTransports: [binding] }));
const clientOf = (agent) => factory.createFromUrl(`${base}/agents/${agent}/a2a/`);
const text = (value) => ({ content: { $case: 'text', value } });
const message = (words, more = {}) => ({ message: { messageId: randomUUID(), role: 1, parts: [text(words)], ...more } });
const taskOf = (answer) => answer.payload?.value ?? answer.task ?? answer;
const state = (task) => task.status.state;
const [working, completed, canceled, asks] = [2, 3, 5, 6];

const says = await clientOf('says');
const done = taskOf(await says.sendMessage(message('hello')));
assert.equal(state(done), completed);
assert.equal(done.artifacts[0].parts[0].content.value, 'hello');

const seen = [];
for await (const event of says.sendMessageStream(message('streamed'))) seen.push(event.payload?.$case);
assert.equal(seen[0], 'task');
assert.ok(seen.includes('artifactUpdate') || seen.length === 1, `stream ${seen}`);

let polled = taskOf(await says.sendMessage({ ...message('later'), configuration: { acceptedOutputModes: [], returnImmediately: true } }));
for (let i = 0; i < 200 && state(polled) !== completed; i++) {
  await new Promise((resolve) => setTimeout(resolve, 20));
  polled = await says.getTask({ id: polled.id });
}
assert.equal(state(polled), completed);

const asking = await clientOf('asks');
const question = taskOf(await asking.sendMessage(message('x')));
assert.equal(state(question), asks);
const answered = taskOf(await asking.sendMessage(message('yes', { taskId: question.id, contextId: question.contextId })));
assert.equal(state(answered), completed);

const holding = await clientOf('holds');
const held = taskOf(await holding.sendMessage({ ...message('x'), configuration: { acceptedOutputModes: [], returnImmediately: true } }));
assert.equal(state(await holding.cancelTask({ id: held.id })), canceled);

const told = [];
const receiver = http.createServer((req, res) => {
  let body = '';
  req.on('data', (chunk) => (body += chunk)).on('end', () => {
    told.push({ auth: req.headers.authorization, body: JSON.parse(body) });
    res.end();
  });
});
receiver.listen(0, '127.0.0.1');
await once(receiver, 'listening');
await says.sendMessage({
  ...message('pushed'),
  configuration: { acceptedOutputModes: [], taskPushNotificationConfig: { id: 'p', url: `http://127.0.0.1:${receiver.address().port}/`, authentication: { scheme: 'Bearer', credentials: 'secret' } } },
});
for (let i = 0; i < 500 && !told.some((n) => n.body.statusUpdate?.status.state === 'TASK_STATE_COMPLETED'); i++) await new Promise((resolve) => setTimeout(resolve, 20));
assert.ok(told.some((n) => n.body.statusUpdate?.status.state === 'TASK_STATE_COMPLETED' && n.auth === 'Bearer secret'), JSON.stringify(told));
receiver.close();

const failing = async (what, promise) => {
  const error = await promise.then(() => assert.fail(`${what} does not fail`), (e) => e);
  return error.constructor.name;
};
const none = 'tsk_01a20cd9e03b7276be6a181888e33e52';
assert.match(await failing('an unknown task', says.getTask({ id: none })), /TaskNotFoundError/);
assert.match(await failing('a canceled task', holding.cancelTask({ id: held.id })), /TaskNotCancelableError/);
assert.match(await failing('a finished task', says.sendMessage(message('x', { taskId: done.id, contextId: done.contextId }))), /UnsupportedOperationError/);
assert.match(await failing('modes of nobody', says.sendMessage({ ...message('x'), configuration: { acceptedOutputModes: ['image/png'] } })), /ContentType/);
console.log('all good');
process.exit(0);
