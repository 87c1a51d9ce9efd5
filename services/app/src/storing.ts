/** What storing one line and storing many have in common. */
import type { IncomingMessage } from "node:http";
import type { Context } from "./context.ts";
import { idIn } from "./observe.ts";
import { Problem } from "./problem.ts";

const diskFullCodes = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/**
 * The ids under which a request's lines are known; the lines are stored with the first. A gateway gives each of a caller's
 * attempts a request id of its own, but the caller's key stays the same across pods and restarts.
 */
export function idsOf(req: IncomingMessage, requestId: string): [string, ...string[]] {
  const key = idIn(req, "idempotency-key");
  return key === undefined || key === requestId ? [requestId] : [key, requestId];
}

/** True for a request that may repeat an earlier one. */
export function isRetry({ headers }: IncomingMessage): boolean {
  return Number(headers["x-envoy-attempt-count"]) > 1 || headers["idempotency-key"] !== undefined;
}

/**
 * Waits for the write of a request's lines, counts it and keeps it for the request's retries.
 * @param keys under which the retries look for the write
 * @param lines how many are written
 * Rejects with a Problem if they could not be stored; a retry then writes them.
 */
export async function settle(
  { metrics, retries }: Context,
  keys: string[],
  write: Promise<void>,
  lines: number,
): Promise<void> {
  for (const key of keys) retries.remember(key, write);
  try {
    await write;
  } catch (cause) {
    for (const key of keys) retries.forget(key, write);
    metrics.logWrites.inc({ result: "failure" }, lines);
    throw notStored(cause, lines);
  }
  metrics.logWrites.inc({ result: "success" }, lines);
}

/** Waits for the write of an earlier request that this one repeats. Rejects with a Problem if that failed. */
export async function repeat({ metrics }: Context, write: Promise<unknown>, lines: number): Promise<void> {
  metrics.logRetries.inc();
  await write.catch((cause) => {
    throw notStored(cause, lines);
  });
}

function notStored(cause: unknown, lines: number): Problem {
  const what = lines === 1 ? "the message" : "the messages";
  const full = diskFullCodes.has((cause as NodeJS.ErrnoException).code ?? "");
  if (full) return new Problem(507, `there is no space left for ${what}`, { cause });
  return new Problem(503, `${what} could not be stored`, { cause });
}
