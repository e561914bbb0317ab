// The same work as a BullMQ job: `node worker.js`. The row is committed with the change, as in the textbook worker.
import process from "node:process";
import { Worker } from "bullmq";
import pg from "pg";
import { QUEUE, redis } from "./redis.js";

const SLOTS = 16;
const TIMEOUT_MS = 10_000;
const VISIBILITY_MS = 30_000;
const RECEIVING = new Set(["to", "cc", "bcc"]);
const FIND = `
  SELECT token FROM peer.tenants JOIN peer.users USING (company_id) WHERE company_id = $1 AND address = ANY($2) LIMIT 1
`;
const RECORD = `
  INSERT INTO peer.events (event_id, company_id, conversation_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
`;
// Connections stay open, as the other peers' do: the CPU of a PostgreSQL process that has ended is not counted.
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: SLOTS, idleTimeoutMillis: 0 });

async function archive(conversation, token) {
  const answer = await fetch(`${process.env.FRONT_API_URL}/conversations/${conversation}`, {
    method: "PATCH",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ status: "archived" }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(`Front answered ${answer.status}`);
}

async function record(client, { authorization, payload }) {
  const receiving = payload.target.data.recipients.filter(({ role }) => RECEIVING.has(role));
  const addresses = receiving.map(({ handle }) => handle.toLowerCase());
  const found = await client.query(FIND, [authorization.id, addresses]);
  const made = await client.query(RECORD, [payload.id, authorization.id, payload.conversation.id]);
  if (found.rowCount && made.rowCount) await archive(payload.conversation.id, found.rows[0].token);
}

async function processWebhook(job) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await record(client, JSON.parse(job.data.body));
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

// A dead worker's lock expires after half of the time, and is noticed within the other half.
const locks = { lockDuration: VISIBILITY_MS / 2, stalledInterval: VISIBILITY_MS / 2 };
const worker = new Worker(QUEUE, processWebhook, { connection: redis, concurrency: SLOTS, ...locks });
worker.on("error", (error) => console.error(error));
