import type { FileHandle } from "node:fs/promises";

const newline = 0x0a;
const chunkBytes = 64 * 1024;

/** The offset just behind the last newline before `limit`, or 0. */
export async function endOfLastLine(handle: FileHandle, limit: number): Promise<number> {
  return (await newlineFromEnd(handle, limit, 1)).offset;
}

/**
 * Counts newlines backwards from `limit`. `offset` is just behind the `nth` of them, or 0 if there are fewer;
 * `missing` is how many were not there.
 */
export async function newlineFromEnd(
  handle: FileHandle,
  limit: number,
  nth: number,
): Promise<{ offset: number; missing: number }> {
  const chunk = Buffer.alloc(Math.min(chunkBytes, limit));
  let missing = nth;
  for (let end = limit; end > 0; ) {
    const start = Math.max(0, end - chunk.length);
    const { bytesRead } = await handle.read(chunk, 0, end - start, start);
    const bytes = chunk.subarray(0, bytesRead);
    for (let index = bytes.lastIndexOf(newline); index >= 0; index = bytes.lastIndexOf(newline, index - 1)) {
      missing -= 1;
      if (missing === 0) return { offset: start + index + 1, missing };
      if (index === 0) break;
    }
    end = start;
  }
  return { offset: 0, missing };
}
