// A user of LiveKit's server SDK for Node: it makes the calls it is told on its
// standard input, a line of JSON each, and tells what came of them, and which
// webhooks arrived, on its standard output. It knows nothing of who answers.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import {
  EgressClient,
  EncodedFileOutput,
  EncodingOptions,
  ImageOutput,
  SegmentedFileOutput,
  StreamOutput,
  WebhookConfig,
  WebhookReceiver,
} from "livekit-server-sdk";

const { HOST, API_KEY, API_SECRET } = process.env;
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const client = new EgressClient(HOST, API_KEY, API_SECRET);

// Webhooks: the receiver verifies signature and checksum, or throws.
const receiver = new WebhookReceiver(API_KEY, API_SECRET);
const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  try {
    const event = await receiver.receive(Buffer.concat(pieces).toString(), request.headers.authorization);
    say({ webhook: event.toJson(), path: request.url, type: request.headers["content-type"] });
    response.writeHead(200).end();
  } catch (error) {
    say({ refused: String(error), path: request.url });
    response.writeHead(401).end();
  }
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => say({ listening: server.address().port }));

function outputs(o) {
  return {
    file: o.file ? EncodedFileOutput.fromJson(o.file) : undefined,
    stream: o.stream ? StreamOutput.fromJson(o.stream) : undefined,
    segments: o.segments ? SegmentedFileOutput.fromJson(o.segments) : undefined,
    images: o.images ? ImageOutput.fromJson(o.images) : undefined,
  };
}

function options(o = {}) {
  return {
    ...o,
    encodingOptions: o.encodingOptions && EncodingOptions.fromJson(o.encodingOptions),
    webhooks: o.webhooks?.map((hook) => WebhookConfig.fromJson(hook)),
  };
}

const calls = {
  room: (c) => client.startRoomCompositeEgress(c.room, outputs(c.outputs), options(c.options)),
  web: (c) => client.startWebEgress(c.url, outputs(c.outputs), options(c.options)),
  layout: (c) => client.updateLayout(c.egressId, c.layout),
  stream: (c) => client.updateStream(c.egressId, c.add, c.remove),
  list: (c) => client.listEgress({ roomName: c.roomName, egressId: c.egressId, active: c.active }),
  stop: (c) => client.stopEgress(c.egressId),
};

for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  try {
    const answer = await calls[call.call](call);
    say({ answer: Array.isArray(answer) ? answer.map((info) => info.toJson()) : [answer.toJson()] });
  } catch (error) {
    say({ error: { code: error.code, status: error.status, message: error.message } });
  }
}
server.close();
server.closeAllConnections();
