import type { IncomingMessage, ServerResponse } from "node:http";
import { messageIn, withBody } from "./body.ts";
import type { Context } from "./context.ts";
import { escapeMessage, formatLine } from "./line.ts";
import { type Mistake, Problem, sendProblem } from "./problem.ts";
import { manyKey, maxLines, retryKey } from "./retries.ts";
import { idsOf, isRetry, repeat, settle } from "./storing.ts";

const newline = 0x0a;
// How many mistakes an answer lists one by one.
const maxMistakes = 100;

/**
 * Answers POST /logs: 200 once the line of every message is on disk, else a problem; this request has then stored none.
 * A busy sender gets one answer for all lines, and can repeat the request. The problem says which line is wrong, and how.
 */
export async function answerAppendMany(
  context: Context,
  req: IncomingMessage,
  res: ServerResponse,
  requestId: string,
): Promise<void> {
  try {
    const { MAX_LINES_BYTES, MAX_MESSAGE_BYTES } = context.config;
    const lines = await withBody(req, MAX_LINES_BYTES, context.rooms.lines, (body) =>
      store(context, req, requestId, messagesIn(body, MAX_MESSAGE_BYTES)),
    );
    const body = `{"status":"ok","lines":${lines}}`;
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

/** Appends a line for each message, all in one write. @returns how many there are, once they are stored */
async function store(
  context: Context,
  req: IncomingMessage,
  requestId: string,
  messages: string[],
): Promise<number> {
  const lines = messages.length;
  await append(context, req, requestId, messages.map(escapeMessage));
  return lines;
}

/**
 * Appends the lines of a request. A retry of a request whose lines are known adds none; after a restart it adds those
 * that the log does not hold. It is not async, so that only the text of the lines is kept while the disk is slow.
 */
function append(context: Context, req: IncomingMessage, requestId: string, escaped: string[]): Promise<void> {
  const { log, retries } = context;
  const ids = idsOf(req, requestId);
  const keys = ids.map((id) => manyKey(id, escaped));
  const known = isRetry(req) ? keys.map((key) => retries.find(key)).find(Boolean) : undefined;
  if (known) return repeat(context, known, escaped.length);
  const lines = escaped.map((message, index) => ({ id: `${ids[0]}:${index + 1}`, message }));
  const earlier = lines.map(({ id, message }) =>
    isRetry(req) ? retries.find(retryKey(id, message)) : undefined,
  );
  const missing = lines.filter((_line, index) => !earlier[index]);
  if (missing.length === 0) return repeat(context, Promise.all(earlier), escaped.length);
  const time = new Date().toISOString();
  const text = missing.map(({ id, message }) => formatLine(time, id, message)).join("");
  // A line of an earlier request may still be on its way, and may be refused.
  const write = Promise.all([log.append(text, missing.length), ...earlier]).then(() => undefined);
  return settle(context, keys, write, missing.length);
}
