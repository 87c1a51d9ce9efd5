/** What a caller sends: a request's body, and the messages in it. */
import type { IncomingMessage } from "node:http";
import { Problem } from "./problem.ts";
import type { Room } from "./room.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads the request's body once there is room for it, and keeps that room until `use` has ended. Rejects with a Problem if
 * the body is larger than `limit` bytes, is encoded, or finds no room.
 */
export async function withBody<T>(
  req: IncomingMessage,
  limit: number,
  room: Room,
  use: (body: Buffer) => Promise<T>,
): Promise<T> {
  const bytes = announcedBytes(req, limit);
  const turn = room.enter(req, bytes);
  if (turn) await turn;
  try {
    return await use(await readBody(req, bytes, limit));
  } finally {
    room.leave(bytes);
  }
}

/** How many bytes a request's body may have, according to its headers. Throws a Problem if it has too many or is encoded. */
function announcedBytes(req: IncomingMessage, limit: number): number {
  const encoding = encodingOf(req);
  if (encoding) throw new Problem(415, `the body must not be encoded as ${encoding}`);
  const bytes = Number(req.headers["content-length"] ?? limit);
  if (bytes > limit) throw tooLarge(limit);
  return bytes;
}

/** Copies the body into one buffer: one that comes in pieces of one byte would otherwise take a hundred times its size. */
function readBody(req: IncomingMessage, bytes: number, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const endedEarly = () => reject(new Problem(400, "the body ended too early"));
    if (req.destroyed) return endedEarly();
    let body: Buffer | undefined;
    let size = 0;
    req.on("data", (chunk: Buffer) => {
      const before = size;
      size += chunk.length;
      // The body's room is given back at once, and what still arrives is thrown away.
      if (size > limit) {
        body = undefined;
        reject(tooLarge(limit));
      } else if (!body) {
        body = chunk;
      } else {
        if (body.length < size) {
          const whole = Buffer.allocUnsafe(bytes);
          body.copy(whole);
          body = whole;
        }
        chunk.copy(body, before);
      }
    });
    req.on("end", () => resolve(body ? body.subarray(0, size) : Buffer.alloc(0)));
    req.on("error", endedEarly);
  });
}

function tooLarge(limit: number): Problem {
  return new Problem(413, `the body must not be larger than ${limit} bytes`);
}

/** The first content coding other than identity. The case of a coding's name does not matter (RFC 9110, 8.4.1). */
function encodingOf({ headers }: IncomingMessage): string | undefined {
  const codings = (headers["content-encoding"] ?? "").split(",").map((coding) => coding.trim());
  return codings.find((coding) => !["", "identity"].includes(coding.toLowerCase()));
}

/**
 * The message in `{"message":"…"}`, of at most `limit` bytes in UTF-8. Throws a Problem that says what is wrong with it.
 * @param what what the Problem calls the bytes, such as `the body`
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
