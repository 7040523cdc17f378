// Generates a text as a caller that isn't written in Python, for test_other_language.py.
//
// The argument is JSON: endpoint, proto, seed, and, if there are any, ca, cert, key (files), token and http, the address
// of the HTTP port. Prints JSON on one line: the name of the status, its details, the text, and, with http, the status of
// /metrics.
"use strict";
const fs = require("node:fs");
const https = require("node:https");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const asked = JSON.parse(process.argv[2]);
const definition = loader.loadSync(asked.proto, {
  includeDirs: [path.join(path.dirname(asked.proto), "..", "..")],
  keepCase: true,
  longs: String,
  oneofs: true,
});
const { GenerationService } = grpc.loadPackageDefinition(definition).nextchar.v1;

const read = (file) => (file ? fs.readFileSync(file) : null);
const credentials = asked.ca
  ? grpc.credentials.createSsl(read(asked.ca), read(asked.key), read(asked.cert))
  : grpc.credentials.createInsecure();
const metadata = new grpc.Metadata();
if (asked.token) metadata.set("authorization", `Bearer ${asked.token}`);

const client = new GenerationService(asked.endpoint, credentials);
const call = client.GenerateStream(
  { parameters: { seed: asked.seed, max_characters: 40 } },
  metadata,
  { deadline: Date.now() + 60_000 },
);
let text = "";
call.on("data", (message) => (text += message.delta ? message.delta.text : ""));
call.on("error", () => {}); // the status tells it too

const metrics = () =>
  new Promise((resolve, reject) => {
    const headers = asked.token ? { authorization: `Bearer ${asked.token}` } : {};
    const request = https.get(`https://${asked.http}/metrics`, { ca: read(asked.ca), headers }, (answer) => {
      answer.resume();
      resolve({ http: answer.statusCode });
    });
    request.on("error", reject);
  });

call.on("status", async (status) => {
  const more = asked.http ? await metrics() : {};
  console.log(JSON.stringify({ code: grpc.status[status.code], details: status.details, text, ...more }));
  client.close();
});
