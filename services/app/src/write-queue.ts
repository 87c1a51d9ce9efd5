/** Lines on their way to the disk: those that arrive while a write is under way share the next one. */
import { setImmediate } from "node:timers/promises";

interface Waiting {
  line: string;
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
  #characters = 0;
  #closed = false;
  #flushing: Promise<void> | undefined;

  /**
   * @param write stores a batch, or rejects and leaves nothing of it; is not called again before it has ended
   * @param written is told how many lines a stored batch had
   */
  constructor(write: (bytes: Buffer) => Promise<void>, written: (lines: number) => void) {
    this.#write = write;
    this.#written = written;
  }

  /** How many lines wait for a write. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Resolves once the line is written. Rejects with what `write` rejects with, while too many wait, and after `close`. */
  add(line: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the log file is closed"));
      if (this.#characters + line.length > queuedCharacters) {
        return reject(new Error("too many lines wait for the disk"));
      }
      this.#waiting.push({ line, resolve, reject });
      this.#characters += line.length;
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
        await this.#write(Buffer.from(batch.map(({ line }) => line).join("")));
        this.#written(batch.length);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = undefined;
  }

  /** Waits for lines to share the write, as long as every turn of the event loop brings some, until they are enough. */
  async #gather(): Promise<void> {
    for (let before = 0; before < this.#waiting.length && this.#waiting.length < enoughLines; ) {
      before = this.#waiting.length;
      await setImmediate();
    }
  }

  #takeBatch(): Waiting[] {
    let characters = 0;
    const end = this.#waiting.findIndex(({ line }, index) => {
      characters += line.length;
      return characters > batchCharacters && index > 0;
    });
    const batch = this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
    for (const { line } of batch) this.#characters -= line.length;
    return batch;
  }
}
