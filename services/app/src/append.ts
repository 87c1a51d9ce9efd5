import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context } from "./context.ts";
import { escapeMessage, formatLine } from "./line.ts";
import { idIn } from "./observe.ts";
import { Problem, sendProblem } from "./problem.ts";
import { retryKey } from "./retries.ts";

const diskFullCodes = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const utf8 = new TextDecoder("utf-8", { fatal: true });
// As a string it goes out in one write with its head.
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
    const message = messageIn(
      await readBody(req, context.config.MAX_BODY_BYTES),
      context.config.MAX_MESSAGE_BYTES,
    );
    await store(context, req, requestId, message);
    res.writeHead(200, storedHeaders).end(stored);
  } catch (error) {
    sendProblem(context.logger, req, res, error);
  }
}

/** Appends the message's line, unless this is a retry of a request whose line was written or is being written. */
async function store(
  { log, metrics, retries }: Context,
  req: IncomingMessage,
  requestId: string,
  message: string,
): Promise<void> {
  const escaped = escapeMessage(message);
  // A gateway gives each of a caller's attempts a request id of its own; the caller's key stays, over pods and restarts.
  const id = idIn(req, "idempotency-key") ?? requestId;
  const keys = [retryKey(id, escaped)];
  if (id !== requestId) keys.push(retryKey(requestId, escaped));
  const earlier = isRetry(req) ? keys.map((key) => retries.find(key)).find(Boolean) : undefined;
  const write = earlier ?? log.append(formatLine(new Date().toISOString(), id, escaped));
  if (earlier) metrics.logRetries.inc();
  else for (const key of keys) retries.remember(key, write);
  try {
    await write;
  } catch (cause) {
    for (const key of keys) retries.forget(key, write);
    if (!earlier) metrics.logWrites.inc({ result: "failure" });
    const full = diskFullCodes.has((cause as NodeJS.ErrnoException).code ?? "");
    if (full) throw new Problem(507, "there is no space left for the message", { cause });
    throw new Problem(503, "the message could not be stored", { cause });
  }
  if (!earlier) metrics.logWrites.inc({ result: "success" });
}

function isRetry({ headers }: IncomingMessage): boolean {
  return Number(headers["x-envoy-attempt-count"]) > 1 || headers["idempotency-key"] !== undefined;
}

/** The request's body. Rejects with a Problem if it is larger than `limit` or is not sent as it is. */
function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const encoding = encodingOf(req);
    if (encoding) return reject(new Problem(415, `the body must not be encoded as ${encoding}`));
    const tooLarge = () => reject(new Problem(413, `the body must not be larger than ${limit} bytes`));
    if (Number(req.headers["content-length"]) > limit) return tooLarge();
    const chunks: Buffer[] = [];
    let size = 0;
    req.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
      else tooLarge();
    });
    req.on("end", () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    req.on("error", () => reject(new Problem(400, "the body ended too early")));
  });
}

/** The first content coding that is one; names of codings are the same in capitals (RFC 9110, 8.4.1). */
function encodingOf({ headers }: IncomingMessage): string | undefined {
  const codings = (headers["content-encoding"] ?? "").split(",").map((coding) => coding.trim());
  return codings.find((coding) => !["", "identity"].includes(coding.toLowerCase()));
}

/** The message in a body. Throws a Problem that says what is wrong with it. */
function messageIn(body: Buffer, limit: number): string {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(body));
  } catch {
    throw new Problem(400, "the body must be JSON in UTF-8, with a message");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem(400, "the body must be a JSON object with a message");
  }
  const { message } = value as { message?: unknown };
  const refuse = (detail: string) => new Problem(400, detail, { field: "message" });
  if (message === undefined) throw refuse("message is missing");
  if (typeof message !== "string") throw refuse("message must be a string");
  if (message === "") throw refuse("message must not be empty");
  if (!message.isWellFormed()) throw refuse("message must not hold half a surrogate pair");
  if (Buffer.byteLength(message) > limit)
    throw refuse(`message must not be longer than ${limit} bytes in UTF-8`);
  return message;
}
