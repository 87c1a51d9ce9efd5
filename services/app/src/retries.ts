import { hash } from "node:crypto";

const capacity = 10_000;

/**
 * Which lines were written lately, so that a retry is answered instead of written a second time.
 * A line is known by its request id and a digest of its message; the oldest of 10 000 is forgotten first.
 */
export class RetryWindow {
  #writes = new Map<string, Promise<void>>();

  /** The write of this line, which may still be under way; undefined if it is not known. */
  find(key: string): Promise<void> | undefined {
    return this.#writes.get(key);
  }

  /** Keeps a write for its retries until it is forgotten or the oldest. */
  remember(key: string, write: Promise<void>): void {
    this.#writes.delete(key);
    this.#writes.set(key, write);
    if (this.#writes.size <= capacity) return;
    for (const oldest of this.#writes.keys()) {
      this.#writes.delete(oldest);
      break;
    }
  }

  /** Drops a write that failed, so that its retry is written. */
  forget(key: string, write: Promise<void>): void {
    if (this.#writes.get(key) === write) this.#writes.delete(key);
  }

  /** Keeps the lines of a file as writes that succeeded. */
  restore(lines: string): void {
    const done = Promise.resolve();
    for (const [, id, escaped] of lines.matchAll(/^\S+ (\S+) (.*)\n/gm)) {
      if (id !== undefined && escaped !== undefined) this.remember(retryKey(id, escaped), done);
    }
  }
}

/** The key of a line: its request's id and the digest of its message, escaped as in the file. */
export function retryKey(id: string, escapedMessage: string): string {
  return `${id} ${hash("sha256", escapedMessage, "base64")}`;
}
