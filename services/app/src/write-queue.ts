/** Lines on their way to the disk: those that arrive while a write is under way share the next one. */
import { setImmediate } from "node:timers/promises";

interface Waiting {
  text: string;
  lines: number;
  resolve: () => void;
  reject: (reason: unknown) => void;
}

const batchCharacters = 1024 * 1024;
const queuedCharacters = 32 * 1024 * 1024;
const enoughLines = 32;

/** One writer's lines, written in the order in which they were added. */
export class WriteQueue {
  readonly #write: (bytes: Buffer) => Promise<void>;
  readonly #written: (lines: number) => void;
  #waiting: Waiting[] = [];
  #lines = 0;
  #characters = 0;
  #closed = false;
  #flushing: Promise<void> | undefined;

  /**
   * @param write stores a batch, or rejects and leaves nothing of it; it is not called again before it has ended
   * @param written is told how many lines a stored batch had
   */
  constructor(write: (bytes: Buffer) => Promise<void>, written: (lines: number) => void) {
    this.#write = write;
    this.#written = written;
  }

  /** How many lines wait for a write. */
  get length(): number {
    return this.#lines;
  }

  /**
   * Resolves once the lines are written, all in one write. Rejects with the error of `write`, while too many lines wait,
   * and after `close`.
   */
  add(text: string, lines = 1): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the log file is closed"));
      if (this.#characters + text.length > queuedCharacters) {
        return reject(new Error("too many lines wait for the disk"));
      }
      this.#waiting.push({ text, lines, resolve, reject });
      this.#characters += text.length;
      this.#lines += lines;
      this.#flushing ??= this.#flush();
    });
  }

  /** Refuses further lines, and waits for those accepted. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flushing;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      await this.#gather();
      const batch = this.#takeBatch();
      try {
        await this.#write(Buffer.from(batch.map(({ text }) => text).join("")));
        this.#written(batch.reduce((sum, { lines }) => sum + lines, 0));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = undefined;
  }

  /** Waits for more lines to share the write, until there are enough or a turn of the event loop brings none. */
  async #gather(): Promise<void> {
    for (let before = 0; before < this.#lines && this.#lines < enoughLines; ) {
      before = this.#lines;
      await setImmediate();
    }
  }

  #takeBatch(): Waiting[] {
    let characters = 0;
    const end = this.#waiting.findIndex(({ text }, index) => {
      characters += text.length;
      return characters > batchCharacters && index > 0;
    });
    const batch = this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
    for (const { text, lines } of batch) {
      this.#characters -= text.length;
      this.#lines -= lines;
    }
    return batch;
  }
}
