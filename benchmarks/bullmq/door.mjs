// A door as one would write it on Node: Fastify, the signature over the raw body, one BullMQ job per event.
// node door.mjs PORT SOCKET DATABASE SECRET PATH PIPELINING
// PIPELINING=yes lets ioredis send all jobs of one turn of the event loop together.

import { createHmac, timingSafeEqual } from "node:crypto";
import { Queue } from "bullmq";
import Fastify from "fastify";
import Redis from "ioredis";

const [port, socket, database, secret, path, pipelining] = process.argv.slice(2);

const connection = new Redis({
  path: socket,
  db: Number(database),
  maxRetriesPerRequest: null,
  enableAutoPipelining: pipelining === "yes",
});
const queue = new Queue("benchmark", { connection, defaultJobOptions: { removeOnComplete: true } });
const app = Fastify({ logger: false });

app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => done(null, body));

app.post(path, async (request, reply) => {
  const told = Buffer.from(request.headers["x-signature"] ?? "", "hex");
  const expected = createHmac("sha256", secret).update(request.body).digest();
  if (told.length !== expected.length || !timingSafeEqual(told, expected)) {
    return reply.code(401).send();
  }
  await queue.add("event", request.body.toString());
  return reply.code(200).send();
});

await app.listen({ port: Number(port), host: "127.0.0.1", backlog: 2048 });
