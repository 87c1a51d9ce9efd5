/** Room for bodies: it limits how many of their bytes the service holds at a time, however many clients send. */
import type { IncomingMessage } from "node:http";
import { Problem } from "./problem.ts";

// A waiting request costs memory too: about 64 KiB of it have arrived.
const maxWaiting = 128;
// Shorter than a gateway's timeout of one attempt, so that it gets the answer and tries another pod.
const maxWaitMs = 1000;

/** A number of bytes. Each request takes its share of them until it is answered. */
export class Room {
  readonly #bytes: number;
  #taken = 0;
  // How to admit each waiting request, and the bytes that it wants, in the order of arrival.
  readonly #waiting = new Map<() => void, number>();

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /**
   * Takes this many bytes for a request; `leave` gives them back. If they are not free, the returned promise resolves
   * once they are. Until then the request's body is not read, so that the sender waits. A body that is larger than the
   * room has it to itself. The promise rejects with a Problem, and nothing is taken, after a second of waiting, if too
   * many requests wait, and when the sender has gone.
   */
  enter(req: IncomingMessage, bytes: number): Promise<void> | undefined {
    if (this.#waiting.size === 0 && this.#hasRoomFor(bytes)) {
      this.#taken += bytes;
      return undefined;
    }
    return this.#wait(req, bytes);
  }

  /** Gives back what `enter` took. */
  leave(bytes: number): void {
    this.#taken -= bytes;
    for (const [admit, wanted] of this.#waiting) {
      if (!this.#hasRoomFor(wanted)) return;
      this.#taken += wanted;
      admit();
    }
  }

  #hasRoomFor(bytes: number): boolean {
    return this.#taken === 0 || this.#taken + bytes <= this.#bytes;
  }

  #wait(req: IncomingMessage, bytes: number): Promise<void> {
    const busy = () => new Problem(503, "too many bodies are being sent at once", { retryAfter: 1 });
    return new Promise((resolve, reject) => {
      if (this.#waiting.size >= maxWaiting) return reject(busy());
      const stopWaiting = (end: () => void) => () => {
        this.#waiting.delete(admit);
        clearTimeout(timer);
        req.off("close", gone);
        end();
        // A request that waited behind a large body may fit where that one did not.
        this.leave(0);
      };
      const admit = stopWaiting(resolve);
      const gone = stopWaiting(() => reject(new Problem(400, "the body ended too early")));
      const timer = setTimeout(
        stopWaiting(() => reject(busy())),
        maxWaitMs,
      );
      req.once("close", gone);
      this.#waiting.set(admit, bytes);
    });
  }
}
