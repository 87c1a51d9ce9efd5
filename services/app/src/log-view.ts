import { hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import { newlineFromEnd } from "./lines.ts";

/** A file and how many of its bytes, all of them in whole lines, are shown. */
export interface Part {
  handle: FileHandle;
  size: number;
}

const chunkBytes = 256 * 1024;
const identityBytes = 256;

/**
 * The log at one moment, across its generations, oldest first. It does not change while lines are appended or files
 * rotated away. The caller has to close it.
 */
export class LogView {
  readonly size: number;
  /** The position of its first byte: how many bytes the log held before it, over all rotations. */
  readonly start: number;
  readonly #parts: Part[];

  constructor(parts: Part[], start = 0) {
    this.#parts = parts;
    this.start = start;
    this.size = parts.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * A tag that is the same only for the same bytes. The first line's time and id tell which log it is, and a log is only
   * ever appended to.
   */
  async etag(): Promise<string> {
    const first = this.#parts.find(({ size }) => size > 0);
    if (!first) return `"empty-${this.start}"`;
    const start = Buffer.alloc(Math.min(identityBytes, first.size));
    const { bytesRead } = await first.handle.read(start, 0, start.length, 0);
    const digest = hash("sha256", start.subarray(0, bytesRead), "hex").slice(0, 16);
    return `"${digest}-${this.start}-${this.size}"`;
  }

  /** The offset where the last `lines` lines begin. */
  async startOfTail(lines: number): Promise<number> {
    let behind = this.size;
    // One more, for the newline that ends the line before the first one wanted.
    let wanted = lines + 1;
    for (const { handle, size } of this.#parts.toReversed()) {
      behind -= size;
      const { offset, missing } = await newlineFromEnd(handle, size, wanted);
      if (missing === 0) return behind + offset;
      wanted = missing;
    }
    return 0;
  }

  /**
   * The bytes from `start` to `end`, which is exclusive. They are read as they are asked for. The stream fails if a file
   * has become shorter than the view.
   */
  stream(start: number, end: number): Readable {
    const chunks = this.#read(start, end, () => Buffer.allocUnsafe(chunkBytes));
    return Readable.from(chunks, { objectMode: false, highWaterMark: 1 });
  }

  /** The same in chunks that use two buffers in turn: a chunk is overwritten when the second one after it is asked for. */
  chunks(start: number, end: number): AsyncGenerator<Buffer> {
    const size = Math.min(chunkBytes, end - start);
    let [used, free]: (Buffer | undefined)[] = [];
    return this.#read(start, end, () => {
      const buffer = free ?? Buffer.allocUnsafe(size);
      [used, free] = [buffer, used];
      return buffer;
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#parts.map(({ handle }) => handle.close()));
  }

  /** Reads one chunk ahead: while the caller passes one on, a thread reads the next. */
  async *#read(start: number, end: number, next: () => Buffer): AsyncGenerator<Buffer> {
    const reads = this.#reads(start, end, next);
    for (let ahead = begun(reads); ahead; ) {
      const bytes = await ahead;
      ahead = begun(reads);
      yield bytes;
    }
  }

  *#reads(start: number, end: number, next: () => Buffer): Generator<Promise<Buffer>> {
    let before = 0;
    for (const { handle, size } of this.#parts) {
      const last = Math.min(size, end - before);
      for (let position = Math.max(0, start - before); position < last; position += chunkBytes) {
        const buffer = next();
        const wanted = Math.min(buffer.length, chunkBytes, last - position);
        yield filled(handle, buffer.subarray(0, wanted), position);
      }
      before += size;
    }
  }
}

/** Begins the next read. A caller that awaits its bytes learns of a failure; if nobody does, the failure is ignored. */
function begun(reads: Generator<Promise<Buffer>>): Promise<Buffer> | undefined {
  const read = reads.next().value as Promise<Buffer> | undefined;
  read?.catch(() => undefined);
  return read;
}

async function filled(handle: FileHandle, buffer: Buffer, position: number): Promise<Buffer> {
  for (let read = 0; read < buffer.length; ) {
    const { bytesRead } = await handle.read(buffer, read, buffer.length - read, position + read);
    if (bytesRead === 0) throw new Error("the log became shorter while it was being read");
    read += bytesRead;
  }
  return buffer;
}
