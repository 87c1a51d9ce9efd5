import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { Readable } from "node:stream";

interface Waiting {
  line: string;
  resolve: () => void;
  reject: (reason: unknown) => void;
}

/** What is on disk and acknowledged: which file, and how many of its bytes. */
interface Committed {
  device: number;
  inode: number;
  size: number;
}

const newline = 0x0a;
const chunkBytes = 64 * 1024;

/**
 * An append-only file of lines with one writer, this object.
 *
 * Lines that arrive while a write is under way share the next write and its one fdatasync. A batch that fails is
 * taken out of the file again, so a refused line is not stored; the file is opened anew where it was removed,
 * replaced or truncated, so that writing recovers by itself.
 */
export class LogFile {
  readonly path: string;
  #handle: FileHandle | undefined;
  #committed: Committed | undefined;
  #failed = false;
  #closed = false;
  #waiting: Waiting[] = [];
  #flushing: Promise<void> | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Creates the file if it is absent and cuts off a torn last line. To be called before the first `append`, which
   * does the same if this was not called or failed. Returns the number of bytes cut off. Rejects with the system's error.
   */
  async open(): Promise<number> {
    return (await this.#current()).cut;
  }

  /**
   * Appends one line, which ends in its only newline. Resolves once it is on disk, in the order of the lines in the
   * file. Rejects with the system's error if it could not be stored, and after `close`.
   */
  append(line: string): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the log file is closed"));
      this.#waiting.push({ line, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /**
   * The bytes of the whole acknowledged lines at this moment, as a stream to be read or destroyed.
   * Empty if there is no file. Rejects with the system's error if it cannot be read.
   */
  async read(): Promise<Readable> {
    let handle: FileHandle;
    try {
      handle = await open(this.path, "r");
    } catch (error) {
      if (isAbsent(error)) return Readable.from([]);
      throw error;
    }
    try {
      const size = await endOfLastLine(handle, this.#limit(await handle.stat()));
      if (size > 0) return handle.createReadStream({ start: 0, end: size - 1 });
      await handle.close();
      return Readable.from([]);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Resolves if the file can be opened for appending, else rejects with the system's error. */
  async check(): Promise<void> {
    const { O_WRONLY, O_APPEND, O_CREAT } = constants;
    await (await open(this.path, O_WRONLY | O_APPEND | O_CREAT, 0o644)).close();
  }

  /** Refuses further lines, waits for those accepted, and closes the file. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flushing;
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(Buffer.from(batch.map(({ line }) => line).join("")));
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#flushing = undefined;
  }

  async #write(bytes: Buffer): Promise<void> {
    const { handle, committed } = await this.#current();
    try {
      await handle.appendFile(bytes);
      await handle.datasync();
      committed.size += bytes.length;
    } catch (error) {
      this.#failed = true;
      // Takes the failed batch out; where even that fails, the next batch tries again first.
      await this.#current().catch(() => undefined);
      throw error;
    }
  }

  /** The handle to write with: the open one if the file is as the last batch left it, else a new one on a repaired file. */
  async #current(): Promise<{ handle: FileHandle; committed: Committed; cut: number }> {
    const found = await stat(this.path).catch((error) => {
      if (isAbsent(error)) return undefined;
      throw error;
    });
    const before = this.#handle;
    if (before && this.#committed && found && isSame(found, this.#committed)) {
      if (found.size === this.#committed.size) {
        this.#failed = false;
        return { handle: before, committed: this.#committed, cut: 0 };
      }
    }
    this.#handle = undefined;
    await before?.close();
    const { O_RDWR, O_APPEND, O_CREAT } = constants;
    const handle = await open(this.path, O_RDWR | O_APPEND | O_CREAT, 0o644);
    try {
      const status = await handle.stat();
      const size = await endOfLastLine(handle, this.#failed ? this.#limit(status) : status.size);
      if (size < status.size) {
        await handle.truncate(size);
        await handle.datasync();
      }
      await syncDirectory(dirname(this.path));
      const committed = { device: status.dev, inode: status.ino, size };
      this.#handle = handle;
      this.#committed = committed;
      this.#failed = false;
      return { handle, committed, cut: status.size - size };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** How many of the file's bytes may be kept or shown: of the known file, those acknowledged. */
  #limit(status: Stats): number {
    if (!this.#committed || !isSame(status, this.#committed)) return status.size;
    return Math.min(status.size, this.#committed.size);
  }
}

function isSame(status: Stats, committed: Committed): boolean {
  return status.ino === committed.inode && status.dev === committed.device;
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** The offset just behind the last newline before `limit`, or 0. */
async function endOfLastLine(handle: FileHandle, limit: number): Promise<number> {
  const chunk = Buffer.alloc(Math.min(chunkBytes, limit));
  for (let end = limit; end > 0; ) {
    const start = Math.max(0, end - chunk.length);
    const { bytesRead } = await handle.read(chunk, 0, end - start, start);
    const index = chunk.subarray(0, bytesRead).lastIndexOf(newline);
    if (index >= 0) return start + index + 1;
    end = start;
  }
  return 0;
}

/** Makes a new file's name as durable as its content. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
