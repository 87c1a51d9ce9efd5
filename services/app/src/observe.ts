import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Context } from "./context.ts";

const quietRoutes = new Set(["/livez", "/readyz", "/metrics"]);

/** Gives the request its id and returns it; measures and logs the request when its answer has ended or broken off. */
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
    context.logger[quietRoutes.has(route) ? "debug" : "info"](fields, "request");
  });
  return requestId;
}

/** The id that a header gives the request; undefined if it could not stand in a line as one word. */
export function idIn(req: IncomingMessage, header: string): string | undefined {
  const given = req.headers[header];
  return typeof given === "string" && /^[\w.:-]{1,128}$/.test(given) ? given : undefined;
}
