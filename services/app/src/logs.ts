import type { Request, RequestHandler, Response } from "express";
import type { Context } from "./context.ts";
import type { LogView } from "./log-view.ts";
import { Problem } from "./problem.ts";

/** Answers GET and HEAD /logs: the stored lines, or the part of them that `tail` or `from` and a Range ask for. */
export function sendLines({ log }: Context): RequestHandler {
  return async (req, res) => {
    const begin = beginIn(req.query);
    const unreadable = (cause: unknown) => {
      throw new Problem(503, "the log cannot be read", { cause });
    };
    const view = await log.view().catch(unreadable);
    try {
      const first = await firstByte(view, begin).catch(unreadable);
      if (first > view.size) throw beyond(view, res);
      res.set("Log-Start", String(view.start + first)).set("ETag", await view.etag().catch(unreadable));
      await sendFrom(view, first, req, res);
    } finally {
      await view.close();
    }
  };
}

/** The offset in the view where the answer begins. A position before the view means its first byte. */
async function firstByte(view: LogView, begin: Begin): Promise<number> {
  if (begin === undefined) return 0;
  return "tail" in begin ? view.startOfTail(begin.tail) : Math.max(0, begin.from - view.start);
}

/** Tells a reader whose position lies behind the log's end where this log begins and ends. */
function beyond(view: LogView, res: Response): Problem {
  res.set({ "Log-Start": String(view.start), "Content-Range": `bytes */${view.size}` });
  return new Problem(416, `the log ends at position ${view.start + view.size}, before from`, {
    field: "from",
  });
}

/** Sends the view's bytes from `first` on, or the part of them that a Range picks. */
async function sendFrom(view: LogView, first: number, req: Request, res: Response): Promise<void> {
  res.set({ "Accept-Ranges": "bytes", "Cache-Control": "no-cache" }).type("text/plain");
  if (req.fresh) return void res.status(304).end();
  const size = view.size - first;
  const range = wantedRange(req, res, size);
  if (range === "none") {
    res.set("Content-Range", `bytes */${size}`);
    throw new Problem(416, `the log has ${size} bytes, none of them in the range`);
  }
  const { start, end } = range ?? { start: 0, end: size };
  if (range) res.status(206).set("Content-Range", `bytes ${start}-${end - 1}/${size}`);
  res.set("Content-Length", String(end - start));
  if (req.method === "HEAD" || start === end) return void res.end();
  for await (const chunk of view.chunks(first + start, first + end)) if (!(await written(res, chunk))) return;
  res.end();
}

/** Writes a chunk. True once the kernel has it, so that its buffer may be used again; false if the client has gone. */
function written(res: Response, chunk: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const gone = (): void => resolve(false);
    res.once("close", gone);
    res.write(chunk, (error) => {
      res.off("close", gone);
      resolve(!error);
    });
  });
}

/**
 * The range to send, its end exclusive; "none" if it lies outside the log; undefined to send everything, which is also
 * the answer to several ranges and to a malformed one.
 */
function wantedRange(req: Request, res: Response, size: number): Range | "none" | undefined {
  const condition = req.get("If-Range");
  if (req.method !== "GET" || (condition !== undefined && condition !== res.get("ETag"))) return undefined;
  const [, first, last] = /^bytes=(\d*)-(\d*)$/i.exec(req.get("Range") ?? "") ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return undefined;
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(Number(last) + 1, size);
  return start < end ? { start, end } : "none";
}

interface Range {
  start: number;
  end: number;
}

/** Where the answer begins: with this many of the last lines, or at a position; undefined for the log's first line. */
type Begin = { tail: number } | { from: number } | undefined;

function beginIn({ tail, from }: Request["query"]): Begin {
  if (tail !== undefined && from !== undefined) {
    throw new Problem(400, "from cannot be used together with tail", { field: "from" });
  }
  if (tail !== undefined) return { tail: wholeNumber("tail", tail, "lines", 999_999_999) };
  if (from !== undefined) return { from: wholeNumber("from", from, "bytes", Number.MAX_SAFE_INTEGER) };
  return undefined;
}

function wholeNumber(field: string, value: unknown, what: string, max: number): number {
  if (typeof value === "string" && /^\d{1,16}$/.test(value) && Number(value) <= max) return Number(value);
  throw new Problem(400, `${field} must be a whole number of ${what}, 0 to ${max}`, { field });
}
