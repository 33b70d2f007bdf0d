// node-hl7-client as a hospital's interface engine: sends each message it is given, and prints what it made of the answer.
//
// node client.mjs PORT: one JSON string (a message) a line on standard input, one JSON object a line on standard output.

import { createInterface } from 'node:readline';
import { Client, Message } from 'node-hl7-client';

const answers = [];
const client = new Client({ host: '127.0.0.1' });
const outbound = client.createConnection({ port: Number(process.argv[2]), waitAck: true }, async (response) => {
  const message = response.getMessage();
  const text = (path) => message.get(path).toString();
  answers.shift()({ code: text('MSA.1'), controlId: text('MSA.2'), type: text('MSH.9.1') });
});
outbound.on('client.error', () => process.exit(1));

for await (const line of createInterface({ input: process.stdin })) {
  const answered = new Promise((resolve) => answers.push(resolve));
  await outbound.sendMessage(new Message({ text: JSON.parse(line) }));
  console.log(JSON.stringify(await answered));
}
await outbound.close();
process.exit(0);
