/** What a caller sends: a request's body, and the messages in it. */
import type { IncomingMessage } from "node:http";
import { Problem } from "./problem.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The request's body. Rejects with a Problem if it is larger than `limit` bytes or is not sent as it is. */
export function readBody(req: IncomingMessage, limit: number): Promise<Buffer> {
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

/**
 * The message in `{"message":"…"}`, of at most `limit` bytes in UTF-8. Throws a Problem that says what is wrong with it.
 * @param what how the Problem calls the bytes, such as `the body`
 */
export function messageIn(bytes: Uint8Array, limit: number, what = "the body"): string {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new Problem(400, `${what} must be JSON in UTF-8, with a message`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem(400, `${what} must be a JSON object with a message`);
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
