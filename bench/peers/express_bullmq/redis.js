// The address of Redis, and the name of the queue.
import process from "node:process";

const url = new URL(process.env.REDIS_URL);

export const QUEUE = "webhooks";
export const redis = { host: url.hostname, port: Number(url.port), password: decodeURIComponent(url.password) };
