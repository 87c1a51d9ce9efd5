import { hash } from "node:crypto";
import { printable } from "./line.ts";

const minRemembered = 10_000;
/** How many lines one request may bring, so that all lines of the last request are known after a restart. */
export const maxLines = minRemembered;
// Up to this many characters, keeping a message costs less than keeping its digest.
const shortMessage = 256;

/**
 * Which lines were written lately, so that a retry is answered instead of written a second time.
 * A line is known by its request id and its message, or by the digest of a long message. The lines of one POST /logs are
 * known as one. The window keeps the last 10,000 to 20,000 of them.
 */
export class RetryWindow {
  // The older of two maps is dropped as a whole: a map that loses its first key each time searches ever longer for it.
  #newer = new Map<string, Promise<void>>();
  #older = new Map<string, Promise<void>>();

  /** The write of this line, which may still be under way; undefined if it is not known. */
  find(key: string): Promise<void> | undefined {
    return this.#newer.get(key) ?? this.#older.get(key);
  }

  /** Keeps a write for its retries until it is forgotten or too old. */
  remember(key: string, write: Promise<void>): void {
    this.#newer.set(key, write);
    if (this.#newer.size < minRemembered) return;
    this.#older = this.#newer;
    this.#newer = new Map();
  }

  /** Drops a write that failed, so that its retry is written. */
  forget(key: string, write: Promise<void>): void {
    for (const writes of [this.#newer, this.#older]) if (writes.get(key) === write) writes.delete(key);
  }

  /** Keeps the lines of a file as writes that succeeded. */
  restore(lines: string): void {
    const done = Promise.resolve();
    // A dot would also stop at U+2028. Older lines hold control characters that are escaped today.
    for (const [, id, escaped] of printable(lines).matchAll(/^\S+ (\S+) ([^\n]*)\n/gm)) {
      if (id !== undefined && escaped !== undefined) this.remember(retryKey(id, escaped), done);
    }
  }
}

/** The key of a request with many lines: its id and the digest of its messages, escaped as in the file. */
export function manyKey(id: string, escapedMessages: string[]): string {
  // Neither an id nor an escaped message holds these separators.
  return `${id}\r\r${hash("sha256", escapedMessages.join("\n"), "base64")}`;
}

/** The key of a line: its request's id and its message, escaped as in the file, or the digest of a long message. */
export function retryKey(id: string, escapedMessage: string): string {
  // Neither an id nor an escaped message holds these separators.
  if (escapedMessage.length <= shortMessage) return `${id}\n${escapedMessage}`;
  return `${id}\r${hash("sha256", escapedMessage, "base64")}`;
}
