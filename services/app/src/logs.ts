import type { Request, RequestHandler, Response } from "express";
import type { Context } from "./context.ts";
import type { LogView } from "./log-view.ts";
import { Problem } from "./problem.ts";

/** Answers GET and HEAD /logs: the stored lines, or the part of them that `tail` and a Range ask for. */
export function sendLines({ log }: Context): RequestHandler {
  return async (req, res) => {
    const tail = tailIn(req.query.tail);
    const unreadable = (cause: unknown) => {
      throw new Problem(503, "the log cannot be read", { cause });
    };
    const view = await log.view().catch(unreadable);
    try {
      const first = tail === undefined ? 0 : await view.startOfTail(tail).catch(unreadable);
      res.set("ETag", await view.etag().catch(unreadable));
      await sendFrom(view, first, req, res);
    } finally {
      await view.close();
    }
  };
}

/** Sends the view's bytes behind `first`, of which a Range may pick some. */
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

/** Writes a chunk; true once the kernel has it, so that its buffer may be used again, false where the client has gone. */
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
 * The one range to send, without its end; "none" if it lies outside; undefined to send everything, as several ranges
 * and what is not a range get too.
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

function tailIn(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === "string" && /^\d{1,9}$/.test(value)) return Number(value);
  throw new Problem(400, "tail must be a whole number of lines, 0 to 999999999", { field: "tail" });
}
