// BullMQ's worker with a job that does nothing: fills the queue, works it off, prints how many it did in a second.
// node worker.mjs JOBS SOCKET DATABASE, and one body on stdin

import { readFileSync } from "node:fs";
import { Queue, Worker } from "bullmq";
import Redis from "ioredis";

const CONCURRENCY = 100;
const BULK = 500;

const [jobs, socket, database] = process.argv.slice(2);
const body = readFileSync(0, "utf8");
const connect = () => new Redis({ path: socket, db: Number(database), maxRetriesPerRequest: null });

const queue = new Queue("benchmark", { connection: connect(), defaultJobOptions: { removeOnComplete: true } });
for (let made = 0; made < Number(jobs); made += BULK) {
  const count = Math.min(BULK, Number(jobs) - made);
  await queue.addBulk(Array.from({ length: count }, () => ({ name: "event", data: body })));
}

const worker = new Worker("benchmark", async () => {}, { connection: connect(), concurrency: CONCURRENCY });
let completed = 0;
let first = 0;
worker.on("completed", () => {
  completed += 1;
  const now = performance.now();
  if (completed === 1) first = now;
  if (completed === Number(jobs)) {
    console.log(JSON.stringify({ ran: completed, per_s: ((completed - 1) / (now - first)) * 1000 }));
    process.exit(0);
  }
});
