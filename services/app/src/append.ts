import type { IncomingMessage, ServerResponse } from "node:http";
import { messageIn, withBody } from "./body.ts";
import type { Context } from "./context.ts";
import { escapeMessage, formatLine } from "./line.ts";
import { sendProblem } from "./problem.ts";
import { retryKey } from "./retries.ts";
import { idsOf, isRetry, repeat, settle } from "./storing.ts";

// A body that is a string goes out in one write with its headers.
const storedHeaders = { "Content-Type": "application/json; charset=utf-8", "Content-Length": 15 };
const stored = '{"status":"ok"}';

/** Answers POST /log: 200 once the message's line is on disk, else a problem. */
export async function answerAppend(
  context: Context,
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
): Promise<void> {
  try {
    const { MAX_BODY_BYTES, MAX_MESSAGE_BYTES } = context.config;
    await withBody(req, MAX_BODY_BYTES, context.rooms.line, (body) =>
      store(context, req, requestId, messageIn(body, MAX_MESSAGE_BYTES)),
    );
    res.writeHead(200, storedHeaders).end(stored);
  } catch (error) {
    sendProblem(context.logger, req, res, error);
  }
}

/** Appends the message's line, unless this is a retry of a request whose line was written or is being written. */
async function store(
  context: Context,
  req: IncomingMessage,
  requestId: string,
  message: string,
): Promise<void> {
  const escaped = escapeMessage(message);
  const ids = idsOf(req, requestId);
  const keys = ids.map((id) => retryKey(id, escaped));
  const earlier = isRetry(req) ? keys.map((key) => context.retries.find(key)).find(Boolean) : undefined;
  if (earlier) return repeat(context, earlier, 1);
  const write = context.log.append(formatLine(new Date().toISOString(), ids[0], escaped));
  await settle(context, keys, write, 1);
}
