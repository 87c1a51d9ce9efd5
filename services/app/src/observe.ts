import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context } from "./context.ts";

const quietRoutes = new Set(["/livez", "/readyz", "/metrics"]);

const slowSeconds = 1;

/**
 * Gives the request its id and returns it; measures and logs the request once its answer has ended or broken off. With
 * `ACCESS_LOG=problems` only requests that failed (400 and above, or no answer) or took a second or more are logged at
 * level info. The others are logged at level debug, because the gateway of a mesh has a line for every request.
 */
export function observe(
  context: Context,
  req: IncomingMessage & { route?: { path: string } },
  res: ServerResponse,
): string {
  const start = performance.now();
  const requestId = idIn(req, "x-request-id") ?? idIn(req, "idempotency-key") ?? randomUUID();
  res.setHeader("x-request-id", requestId);
  if (context.draining) res.setHeader("Connection", "close");
  res.on("close", () => {
    const seconds = (performance.now() - start) / 1000;
    const route = req.route?.path ?? "unmatched";
    // 499: the caller left before there was an answer.
    const status = res.headersSent ? res.statusCode : 499;
    const { method = "" } = req;
    context.metrics.requestDuration.observe({ method, route, status_code: status }, seconds);
    const fields = { requestId, method, route, status, seconds };
    const isQuiet =
      quietRoutes.has(route) || (onlyProblems(context) && status < 400 && seconds < slowSeconds);
    context.logger[isQuiet ? "debug" : "info"](fields, "request");
  });
  return requestId;
}

const onlyProblems = ({ config }: Context): boolean => config.ACCESS_LOG === "problems";

/** The id that a header gives the request; undefined if it cannot be one word of a log line. */
export function idIn(req: IncomingMessage, header: string): string | undefined {
  const given = req.headers[header];
  return typeof given === "string" && /^[\w.:-]{1,128}$/.test(given) ? given : undefined;
}
