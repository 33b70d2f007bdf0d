// node-hl7-server as an EHR: prints what its own parser made of each message, and answers as it was told.
//
// node server.mjs PORT CODES [KEY CERT CA]: CODES such as "AE,AA" are given in turn, the last one for ever. With a key
// it speaks TLS and takes nobody without a certificate of the authority.

import { readFileSync } from 'node:fs';
import { Server } from 'node-hl7-server';

const [port, codes, key, cert, ca] = process.argv.slice(2);
const left = codes.split(',');
const tls = key && {
  key: readFileSync(key), cert: readFileSync(cert), ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true,
};
const sockets = [];
const server = new Server({ bindAddress: '127.0.0.1', ...(tls ? { tls } : {}) });
const inbound = server.createInbound({ port: Number(port), name: 'EHR' }, async (request, response) => {
  const message = request.getMessage();
  const code = left.length > 1 ? left.shift() : left[0];
  const text = (path) => message.get(path).toString();
  console.log(JSON.stringify({
    code, controlId: text('MSH.10'), type: text('MSH.9.1'), version: text('MSH.12'), patient: text('PID.3.1'),
    authority: text('PID.3.4'), name: text('PID.5'), orderStatus: text('OBR.25'), accession: text('OBR.18'),
    siteFields: message.toString().includes('ZRD|') ? [text('ZRD.1'), text('ZRD.2.2')] : [],
    raw: message.toString(),
  }));
  await response.sendResponse(code);
  // This version keeps the last message of a connection and reads it again with the next: one connection a message.
  sockets.splice(0).forEach((socket) => socket.end());
});
inbound.on('client.connect', (socket) => sockets.push(socket));
inbound.on('listen', () => console.log(JSON.stringify({ listens: Number(port) })));
for (const event of ['error', 'client.error', 'data.error']) {
  inbound.on(event, () => {});
}
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
