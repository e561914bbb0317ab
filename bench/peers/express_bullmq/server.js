// An Express route that adds a BullMQ job, in as many processes as WEB_CONCURRENCY says: `node server.js`.
import { Buffer } from "node:buffer";
import cluster from "node:cluster";
import { createHmac, timingSafeEqual } from "node:crypto";
import process from "node:process";
import { Queue } from "bullmq";
import express from "express";
import { QUEUE, redis } from "./redis.js";

const MAX_AGE_MS = 900_000;
const MAX_AHEAD_MS = 60_000;
// Whether the event's id is the job's, so that BullMQ drops the second delivery of an event.
const BY_EVENT = process.env.JOB_ID === "event";
// Finished jobs are kept for an hour; a job has six tries, after pauses of 1, 2, 4, 8 and 16 seconds.
const JOB_OPTIONS = { removeOnComplete: { age: 3600 }, attempts: 6, backoff: { type: "exponential", delay: 1000 } };
const key = process.env.FRONT_SIGNING_KEYS;

function accepted(body, timestamp, signature) {
  const expected = createHmac("sha256", key).update(`${timestamp}:`).update(body).digest("base64");
  const given = Buffer.from(signature);
  const signed = given.length === expected.length && timingSafeEqual(given, Buffer.from(expected));
  const age = Date.now() - Number(timestamp);
  return signed && age <= MAX_AGE_MS && age >= -MAX_AHEAD_MS;
}

function serve() {
  const connection = { ...redis, enableOfflineQueue: false }; // as BullMQ's documentation advises for a server that adds jobs
  const queue = new Queue(QUEUE, { connection });
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.post("/webhooks/front", express.raw({ type: () => true, limit: "10mb" }), async (request, response) => {
    const timestamp = request.get("x-front-request-timestamp") ?? "";
    if (!accepted(request.body, timestamp, request.get("x-front-signature") ?? "")) {
      response.sendStatus(401);
      return;
    }
    const body = request.body.toString();
    const options = BY_EVENT ? { ...JOB_OPTIONS, jobId: JSON.parse(body).payload.id } : {};
    const job = await queue.add("process_webhook", { body }, options);
    response.json({ delivery_id: job.id });
  });
  app.get("/livez", async (request, response) => {
    await queue.waitUntilReady();
    response.json({ alive: true });
  });
  app.listen(Number(process.env.PORT), "127.0.0.1");
}

if (cluster.isPrimary) {
  for (let count = 0; count < Number(process.env.WEB_CONCURRENCY); count += 1) cluster.fork();
} else {
  serve();
}
