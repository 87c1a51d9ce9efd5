/** Fetches a file that may grow meanwhile, over connections that may break. */
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "./failure.ts";

/** How patient a download is. */
export interface Patience {
  /** How often to try; each attempt goes on where the last one broke off. */
  attempts: number;
  /** How long a connection may be silent, in milliseconds. */
  silenceMs: number;
}

const patient: Patience = { attempts: 5, silenceMs: 30_000 };

// How many bytes are fetched again after a break, to see that it is still the same file.
const overlapBytes = 1024;

/** The server refused to send the file, and another attempt would not help. */
export class Refused extends Failure {
  override name = "Refused";
  readonly status: number;
  constructor(url: string, status: number) {
    super(`${url} answers ${status}`);
    this.status = status;
  }
}

/** The file on the server is no longer the one that the bytes so far came from. */
class Changed extends Failure {
  override name = "Changed";
}

/** Which part of a file to fetch, and how patiently. */
export interface Wanted {
  /** The first byte; 0 by default. */
  start?: number;
  /** The most bytes to fetch. */
  limit?: number;
  patience?: Patience | undefined;
}

/** What was fetched. */
export interface Downloaded {
  /** How many bytes there are in the file now. */
  bytes: number;
  /** True if the limit left bytes behind. */
  more: boolean;
  /** The headers of the last answer. */
  headers: Headers;
}

/**
 * Fetches `url` into `file`, from its byte `start` to the end that the server announces, or to the limit.
 * Goes on after a break with a Range, and begins anew if the file is another one by then.
 * @throws Refused for a status such as 403, and for 416 if nothing lies behind `start`; the disk's own error; Failure
 *   after the last attempt
 */
export async function download(
  url: string,
  file: string,
  { start = 0, limit = Number.POSITIVE_INFINITY, patience = patient }: Wanted = {},
): Promise<Downloaded> {
  const handle = await open(file, "w+");
  try {
    const part = { handle, start, limit, have: 0 };
    let cause: unknown;
    for (let attempt = 0; attempt < patience.attempts; attempt++) {
      if (attempt > 0) await sleep(Math.random() * Math.min(200 * 2 ** attempt, 5000));
      try {
        const { size, headers } = await fetchRest(url, part, patience.silenceMs);
        const bytes = Math.min(size, limit);
        await handle.truncate(bytes);
        return { bytes, more: bytes < size, headers };
      } catch (error) {
        if (error instanceof Refused && error.status < 500) throw error;
        if (["ENOSPC", "EDQUOT", "EIO"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
        if (error instanceof Changed) part.have = 0;
        cause = error;
      }
    }
    throw new Failure(`${url} could not be fetched in ${patience.attempts} attempts`, { cause });
  } finally {
    await handle.close();
  }
}

interface Part {
  handle: FileHandle;
  start: number;
  limit: number;
  /** How many bytes the file has, including those of attempts that failed. */
  have: number;
}

/** Fetches what follows the bytes that are there. `size` counts everything from the part's start on. */
async function fetchRest(
  url: string,
  part: Part,
  silenceMs: number,
): Promise<{ size: number; headers: Headers }> {
  const { handle, start, limit } = part;
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Failure(`silent for ${silenceMs} ms`)), silenceMs);
  try {
    const wanted = Math.max(0, part.have - overlapBytes);
    // The ranges of a compressed answer are not those of the file.
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (start + wanted > 0) headers.range = `bytes=${start + wanted}-`;
    const answer = await fetch(url, { headers, signal: silence.signal });
    const extent = extentOf(url, answer, part.have > 0);
    const from = extent.from - start;
    const size = extent.size - start;
    if (from !== wanted) {
      part.have = 0;
      if (from !== 0) {
        void answer.body?.cancel();
        throw new Changed(`${url} sends another range than the one asked for`);
      }
    }
    let known = await readAt(handle, from, Math.max(0, part.have - from));
    let position = from;
    const end = Math.min(size, limit);
    for await (const chunk of answer.body ?? []) {
      timer.refresh();
      const both = Math.min(known.length, chunk.length);
      if (known.compare(chunk, 0, both, 0, both) !== 0) throw new Changed(`${url} has become another file`);
      known = known.subarray(both);
      await writeAt(handle, chunk, position);
      position += chunk.length;
      part.have = Math.max(part.have, position);
      if (position >= end) break;
    }
    if (position < end)
      throw new Failure(`${url} broke off after ${start + position} of ${extent.size} bytes`);
    return { size, headers: answer.headers };
  } finally {
    clearTimeout(timer);
  }
}

/** Where an answer's bytes begin, and the size of the whole file. `begun` is true after an earlier attempt. */
function extentOf(
  url: string,
  { status, headers, body }: Response,
  begun: boolean,
): { from: number; size: number } {
  const length = headers.get("content-length");
  if (status === 200 && length !== null) return { from: 0, size: Number(length) };
  const [, first, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  if (status === 206 && first !== undefined) return { from: Number(first), size: Number(total) };
  void body?.cancel();
  if (status === 416 && begun) throw new Changed(`${url} has become shorter`);
  if (status === 200) throw new Failure(`${url} does not say how long it is`);
  throw new Refused(url, status);
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  if (length > 0) await handle.read(buffer, 0, length, position);
  return buffer;
}

async function writeAt(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; )
    written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
}
