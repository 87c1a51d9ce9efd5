/** Recognizes a file by the bytes just before the place up to which it was read. */
import { hash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

/** The bytes before a place in a file. */
export interface Anchor {
  /** How many there are, at most {@link anchorBytes}. */
  bytes: number;
  /** Their SHA-256, in hex. */
  sha256: string;
}

/** So many bytes hold a line's time and id, so no other file has the same. */
export const anchorBytes = 1024;

const newline = 0x0a;

/** The anchor of a place in a file. */
export async function anchorAt(path: string, place: number): Promise<Anchor> {
  const bytes = Math.min(place, anchorBytes);
  return { bytes, sha256: digestOf(await bytesOf(path, place - bytes, bytes)) };
}

/** True if a file, which may be a part of another, begins with an anchor's bytes. */
export async function beginsWith(path: string, { bytes, sha256 }: Anchor): Promise<boolean> {
  return digestOf(await bytesOf(path, 0, bytes)) === sha256;
}

/** The place behind the last newline of a file's first `size` bytes, or 0. */
export async function endOfLastLine(path: string, size: number): Promise<number> {
  return opened(path, async (handle) => {
    const chunk = Buffer.alloc(64 * 1024);
    for (let end = size; end > 0; end -= chunk.length) {
      const start = Math.max(0, end - chunk.length);
      const { bytesRead } = await handle.read(chunk, 0, end - start, start);
      const found = chunk.subarray(0, bytesRead).lastIndexOf(newline);
      if (found >= 0) return start + found + 1;
    }
    return 0;
  });
}

const digestOf = (bytes: Buffer): string => hash("sha256", bytes, "hex");

function bytesOf(path: string, start: number, length: number): Promise<Buffer> {
  return opened(path, async (handle) => {
    const buffer = Buffer.alloc(length);
    const { bytesRead } = await handle.read(buffer, 0, length, start);
    return buffer.subarray(0, bytesRead);
  });
}

async function opened<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(path, "r");
  try {
    return await use(handle);
  } finally {
    await handle.close();
  }
}
