import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { ErrorRequestHandler, RequestHandler } from "express";
import type { Logger } from "pino";

/** What is wrong with a part of a request. */
export interface Mistake {
  /** The line of the body, counted from 1, if the body has many. */
  line?: number;
  /** The member of the request body, or the query parameter, at fault. */
  field?: string | undefined;
  /** For the caller to read. */
  detail: string;
}

/** An answer other than success, sent as RFC 9457 problem+json. */
export class Problem extends Error {
  override name = "Problem";
  readonly status: number;
  readonly errors: Mistake[] | undefined;
  readonly retryAfter: number | undefined;

  /**
   * `detail` is for the caller to read, and `field` is the part of the request at fault. `cause` goes to the service's log
   * only. The caller may try again after `retryAfter` seconds.
   */
  constructor(
    status: number,
    detail: string,
    {
      cause,
      field,
      errors,
      retryAfter,
    }: Partial<Pick<Problem, "errors" | "retryAfter">> & { field?: string; cause?: unknown } = {},
  ) {
    super(detail, { cause });
    this.status = status;
    this.retryAfter = retryAfter;
    this.errors = field === undefined ? errors : [{ field, detail }];
  }
}

/** Answers every request that reaches it with 404. */
export const notFound: RequestHandler = (req) => {
  throw new Problem(404, `there is nothing at ${req.path}`);
};

/** Answers every request that reaches it with 405 and the methods that are allowed. */
export function onlyMethods(...methods: string[]): RequestHandler {
  return (req, res) => {
    res.set("Allow", methods.join(", "));
    throw new Problem(405, `${req.method} is not allowed here, only ${methods.join(" and ")}`);
  };
}

/** Turns what an Express handler threw into problem+json. */
export function answerProblems(logger: Logger): ErrorRequestHandler {
  return (error: unknown, req, res, _next) => sendProblem(logger, req, res, error);
}

/** Answers with problem+json for what was thrown. A problem with a cause in the service is logged as an error. */
export function sendProblem(logger: Logger, req: IncomingMessage, res: ServerResponse, error: unknown): void {
  const problem = toProblem(error);
  if (problem.cause !== undefined) {
    logger.error({ err: problem.cause, requestId: res.getHeader("x-request-id") }, problem.message);
  }
  // Too late for another answer: breaking the connection is the only sign left.
  if (res.headersSent) return void req.socket.destroy();
  const { status, message: detail, errors, retryAfter } = problem;
  const body = JSON.stringify({ type: "about:blank", title: STATUS_CODES[status], status, detail, errors });
  res.statusCode = status;
  res.setHeader("Content-Type", "application/problem+json; charset=utf-8");
  res.setHeader("Content-Length", Buffer.byteLength(body));
  if (retryAfter !== undefined) res.setHeader("Retry-After", retryAfter);
  res.end(req.method === "HEAD" ? undefined : body);
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // Express marks the caller's mistakes with a status and `expose`.
  const { status, expose, message } = error as { status?: number; expose?: boolean; message?: string };
  if (status !== undefined && status < 500 && expose) return new Problem(status, message ?? "bad request");
  return new Problem(500, "internal error", { cause: error });
}
