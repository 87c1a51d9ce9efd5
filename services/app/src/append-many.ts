import type { IncomingMessage, ServerResponse } from "node:http";
import { messageIn, readBody } from "./body.ts";
import type { Context } from "./context.ts";
import { escapeMessage, formatLine } from "./line.ts";
import { type Mistake, Problem, sendProblem } from "./problem.ts";
import { manyKey, maxLines, retryKey } from "./retries.ts";
import { idsOf, isRetry, repeat, settle } from "./storing.ts";

const newline = 0x0a;
// So many mistakes are told one by one.
const maxMistakes = 100;

/**
 * Answers POST /logs: 200 once the line of every message is on disk, else a problem, and then this request has stored none.
 * A busy sender gets one answer for all, which a retry can repeat; what is wrong with which line the problem says.
 */
export async function answerAppendMany(
  context: Context,
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
): Promise<void> {
  try {
    const { MAX_LINES_BYTES, MAX_MESSAGE_BYTES } = context.config;
    const messages = messagesIn(await readBody(req, MAX_LINES_BYTES), MAX_MESSAGE_BYTES);
    await store(context, req, requestId, messages.map(escapeMessage));
    const body = `{"status":"ok","lines":${messages.length}}`;
    const headers = { "Content-Type": "application/json; charset=utf-8", "Content-Length": body.length };
    res.writeHead(200, headers).end(body);
  } catch (error) {
    sendProblem(context.logger, req, res, error);
  }
}

/** The messages of a body in NDJSON. Throws a Problem that names each line at fault. */
function messagesIn(body: Buffer, limit: number): string[] {
  const messages: string[] = [];
  const mistakes: Mistake[] = [];
  let wrong = 0;
  let line = 0;
  for (let begin = 0; begin < body.length; ) {
    const found = body.indexOf(newline, begin);
    const end = found < 0 ? body.length : found;
    line += 1;
    if (line > maxLines) throw new Problem(413, `there must not be more than ${maxLines} lines`);
    try {
      messages.push(messageIn(body.subarray(begin, end), limit, "the line"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      wrong += 1;
      if (mistakes.length < maxMistakes)
        mistakes.push({ line, field: error.errors?.[0]?.field, detail: error.message });
    }
    begin = end + 1;
  }
  if (line === 0) throw new Problem(400, "the body must hold a JSON object with a message on each line");
  if (wrong === 0) return messages;
  const what = `${wrong} of ${line} lines ${wrong === 1 ? "is" : "are"} not valid, none is stored`;
  throw new Problem(400, what, { errors: mistakes });
}

/**
 * Appends a line for each message, all in one write. A retry of a request whose lines are known adds none; after a restart it
 * adds those that the log does not hold.
 */
async function store(
  context: Context,
  req: IncomingMessage,
  requestId: string,
  escaped: string[],
): Promise<void> {
  const { log, retries } = context;
  const ids = idsOf(req, requestId);
  const keys = ids.map((id) => manyKey(id, escaped));
  const known = isRetry(req) ? keys.map((key) => retries.find(key)).find(Boolean) : undefined;
  if (known) return repeat(context, known, escaped.length);
  const lines = escaped.map((message, index) => ({ id: `${ids[0]}:${index + 1}`, message }));
  const missing = isRetry(req)
    ? lines.filter(({ id, message }) => !retries.find(retryKey(id, message)))
    : lines;
  if (missing.length === 0) return repeat(context, Promise.resolve(), escaped.length);
  const time = new Date().toISOString();
  const text = missing.map(({ id, message }) => formatLine(time, id, message)).join("");
  await settle(context, keys, log.append(text, missing.length), missing.length);
}
