import express, { type ErrorRequestHandler, type Express, type RequestHandler } from "express";
import type { Logger } from "pino";
import type { Metrics } from "./metrics.ts";

/** What the handlers share; `draining` is looked at anew for each request. */
export interface Context {
  greeting: string;
  draining: boolean;
  logger: Logger;
  metrics: Metrics;
}

/** The service's own routes, and those that Kubernetes asks. */
export function createApi(context: Context): Express {
  const app = createExpress();
  app.use(observe(context));
  app.get("/", (_req, res) => void res.type("text/plain").send(context.greeting));
  app.get("/status", (_req, res) => void res.json({ status: "ok" }));
  app.get("/livez", (_req, res) => void res.json({ status: "ok" }));
  app.get("/readyz", (_req, res) => {
    if (context.draining) return void problem(res.status(503), "the service is stopping");
    res.json({ status: "ok" });
  });
  app.use((req, res) => problem(res.status(404), `there is nothing at ${req.path}`));
  app.use(failed(context.logger));
  return app;
}

/** GET /metrics and nothing else, for a port that the mesh leaves alone. */
export function createMetricsApi({ metrics, logger }: Context): Express {
  const app = createExpress();
  app.get("/metrics", async (_req, res) => {
    res.set("Content-Type", metrics.registry.contentType).send(await metrics.registry.metrics());
  });
  app.use((req, res) => problem(res.status(404), `there is nothing at ${req.path}`));
  app.use(failed(logger));
  return app;
}

const createExpress = (): Express => express().disable("x-powered-by").disable("etag");

/** Measures each request when its answer has ended or broken off. */
function observe(context: Context): RequestHandler {
  return (req, res, next) => {
    const end = context.metrics.requestDuration.startTimer();
    if (context.draining) res.set("Connection", "close");
    res.on("close", () => {
      const route: string = req.route?.path ?? "unmatched";
      // 499: the caller left before there was an answer.
      const status = res.headersSent ? res.statusCode : 499;
      const seconds = end({ method: req.method, route, status_code: status });
      context.logger.debug({ method: req.method, route, status, seconds }, "request");
    });
    next();
  };
}

/** Answers with problem+json for what a handler threw; the cause goes to the log only, if it is the service's. */
function failed(logger: Logger): ErrorRequestHandler {
  return (error: { status?: number; expose?: boolean; message?: string }, req, res, _next) => {
    // Too late for another answer: breaking the connection is the only sign left.
    if (res.headersSent) return void req.socket.destroy();
    // Express marks the caller's mistakes with a status and `expose`.
    if (error.expose && error.status) return problem(res.status(error.status), error.message ?? "");
    logger.error({ err: error, path: req.path }, "internal error");
    problem(res.status(500), "internal error");
  };
}

function problem(res: express.Response, detail: string): void {
  const body = { type: "about:blank", status: res.statusCode, detail };
  res.type("application/problem+json").send(JSON.stringify(body));
}
