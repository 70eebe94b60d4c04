// Does real work with openapi-fetch over the types that openapi-typescript makes of the document, and prints what came of it.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const [baseUrl, token] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const stored: number[] = [];
for (let n = 0; n < 6; n++) {
  const { data, error } = await client.POST("/webhooks/elevenlabs/transcription", {
    body: {
      conversation_id: `conv_typescript_${n % 3}`,
      speaker: "user",
      message: `The reefer reads ${n} degrees.`,
      timestamp: `2026-09-28T12:00:0${n}Z`,
    },
  });
  if (error) throw new Error(error.message);
  stored.push(data.sequence_number);
}
const names: string[] = [];
let cursor: string | null | undefined;
do {
  const { data, error } = await client.GET("/api/v1/calls", { params: { query: { limit: 2, ...(cursor ? { cursor } : {}) } } });
  if (error) throw new Error(error.message);
  names.push(...data.data.map((call) => call.conversation_id));
  cursor = data.next_cursor;
} while (cursor);
const path = { conversation_id: "conv_typescript_0" };
const call = await client.GET("/api/v1/calls/{conversation_id}", { params: { path } });
const turns = await client.GET("/api/v1/calls/{conversation_id}/transcriptions", { params: { path } });
const hits = await client.GET("/api/v1/search", { params: { query: { q: "reefer", conversation_id: path.conversation_id } } });
const missing = await client.GET("/api/v1/calls/{conversation_id}", { params: { path: { conversation_id: "no_such_call" } } });
const status: "in_progress" | "completed" | "failed" | undefined = call.data?.status;
const driver: number | null | undefined = call.data?.driver_id;
console.log(
  JSON.stringify({
    sequence_numbers: stored,
    calls: names.filter((name) => name.startsWith("conv_typescript_")).sort(),
    status,
    driver_id: driver,
    turns: turns.data?.data.map((turn) => turn.message_text),
    hits: hits.data?.data.length,
    error: missing.error?.status,
  }),
);
