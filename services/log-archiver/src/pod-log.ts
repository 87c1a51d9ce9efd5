/** What a pod serves at GET /logs, from where the last archive's run stopped. */
import { rm } from "node:fs/promises";
import { type Anchor, anchorAt, beginsWith, endOfLastLine } from "./anchor.ts";
import { download, type Patience, Refused } from "./download.ts";
import { linesOf, partsOf } from "./lines.ts";

/** How far a pod's log has been read. */
export interface PodCursor {
  pod: string;
  /** Bytes of the log before the next line, over all its rotations. */
  position: number;
  anchor: Anchor;
  /** The time of the last line that was read; empty if there was none. */
  last: string;
  /** When the pod was last seen. */
  seen: string;
}

/** The new part of a pod's log, in a file. */
export interface PodPart {
  pod: string;
  uid: string;
  path: string;
  /** Where the new lines begin and end in the file. */
  start: number;
  end: number;
  /** What the log dropped unread, if anything: how many bytes, and between which times they were written. */
  gap: { bytes: number; after: string; before: string } | undefined;
  /** Where to go on; undefined for a log that does not say what it dropped. */
  cursor: PodCursor | undefined;
  /** True if a limit left lines for another archive. */
  more: boolean;
}

/**
 * Fetches the lines behind a cursor into a file. If the bytes before the cursor have changed, it is another log, which is
 * fetched whole.
 * @param limit how many bytes to fetch at most
 */
export async function fetchPodLog(
  { pod, uid, url }: { pod: string; uid: string; url: string },
  cursor: PodCursor | undefined,
  path: string,
  limit: number,
  patience?: Patience,
): Promise<PodPart> {
  const seen = new Date().toISOString();
  const fetched =
    (cursor && (await fetchBehind(url, cursor, path, { limit, patience }))) ??
    (await fetchWhole(url, path, { limit, patience }));
  const { begin, start, bytes, more, known } = fetched;
  const end = Math.max(start, await endOfLastLine(path, bytes));
  const { first, last } = await timesIn(path, start, end);
  const expected = cursor?.position ?? 0;
  const dropped = begin === undefined ? 0 : Math.max(0, begin + start - expected);
  const gap =
    dropped > 0 ? { bytes: dropped, after: known ? (cursor?.last ?? "") : "", before: first } : undefined;
  const next =
    begin === undefined
      ? undefined
      : {
          pod,
          position: begin + end,
          anchor: await anchorAt(path, end),
          last: last || (known ? (cursor?.last ?? "") : ""),
          seen,
        };
  return { pod, uid, path, start, end, gap, cursor: next, more };
}

interface Fetched {
  /** The position of the file's first byte; undefined if the answer does not say. */
  begin: number | undefined;
  /** Where the new lines begin in the file. */
  start: number;
  bytes: number;
  more: boolean;
  /** True if this is the cursor's log. */
  known: boolean;
}

interface Bounds {
  limit: number;
  patience: Patience | undefined;
}

/** Undefined if the cursor belongs to another log. */
async function fetchBehind(
  url: string,
  { position, anchor }: PodCursor,
  path: string,
  { limit, patience }: Bounds,
): Promise<Fetched | undefined> {
  const from = position - anchor.bytes;
  try {
    const { bytes, more, headers } = await download(`${url}/logs?from=${from}`, path, {
      limit: limit + anchor.bytes,
      patience,
    });
    const begin = positionIn(headers);
    if (begin === undefined || begin < from) return undefined;
    // At most a part of the anchor is left, which proves nothing.
    if (begin > from) return { begin, start: Math.max(0, position - begin), bytes, more, known: true };
    if (bytes < anchor.bytes || !(await beginsWith(path, anchor))) return undefined;
    return { begin, start: anchor.bytes, bytes, more, known: true };
  } catch (error) {
    if (error instanceof Refused && error.status === 416) return undefined;
    throw error;
  }
}

async function fetchWhole(url: string, path: string, bounds: Bounds): Promise<Fetched> {
  await rm(path, { force: true });
  const { bytes, more, headers } = await download(`${url}/logs`, path, bounds);
  return { begin: positionIn(headers), start: 0, bytes, more, known: false };
}

function positionIn(headers: Headers): number | undefined {
  const text = headers.get("log-start");
  return text !== null && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
}

/** The times of the first and the last line of the API. */
async function timesIn(path: string, start: number, end: number): Promise<{ first: string; last: string }> {
  const timeIn = async (lines: AsyncGenerator<string[]>, of: (times: string[]) => string | undefined) => {
    for await (const some of lines) {
      const times = some.map((line) => partsOf(line)?.time).filter((time) => time !== undefined);
      return of(times) ?? "";
    }
    return "";
  };
  // This reads the first line whole; the longest has nine million bytes.
  const first = await timeIn(
    linesOf(path, { start, end: Math.min(end, start + 64 * 1024) }),
    (times) => times[0],
  );
  const tail = Math.max(start, end - 64 * 1024);
  const last = await timeIn(linesOf(path, { start: tail, end }), (times) => times.at(-1));
  return { first, last };
}
