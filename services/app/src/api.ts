import { readFileSync } from "node:fs";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import express, { type Express, type RequestHandler } from "express";
import { answerAppend } from "./append.ts";
import { answerAppendMany } from "./append-many.ts";
import type { Context } from "./context.ts";
import { sendLines } from "./logs.ts";
import type { Metrics } from "./metrics.ts";
import { observe } from "./observe.ts";
import { answerProblems, notFound, onlyMethods, Problem } from "./problem.ts";

// The file lies beside src/ and beside dist/.
const description = readFileSync(new URL("../openapi.yaml", import.meta.url), "utf8");

/**
 * The API. `POST /log` and `POST /logs` are answered ahead of Express's router, which costs more than the rest of the request;
 * every other spelling of those paths reaches the same handlers through it.
 */
export function createApi(context: Context): RequestListener {
  const routes = createRoutes(context);
  const { logRequests, manyRequests } = context.metrics;
  const shortcuts = new Map([
    ["/log", { route: { path: "/log" }, calls: logRequests, answer: answerAppend }],
    ["/logs", { route: { path: "/logs" }, calls: manyRequests, answer: answerAppendMany }],
  ]);
  return (req: IncomingMessage & { route?: { path: string } }, res: ServerResponse) => {
    const shortcut = req.method === "POST" ? shortcuts.get(req.url ?? "") : undefined;
    if (!shortcut) return routes(req, res);
    req.route = shortcut.route;
    const requestId = observe(context, req, res);
    shortcut.calls.inc();
    void shortcut.answer(context, req, res, requestId);
  };
}

function createRoutes(context: Context): Express {
  const app = createExpress();
  const reads = onlyMethods("GET", "HEAD");
  app.use((req, res, next) => {
    res.locals.requestId = observe(context, req, res);
    next();
  });

  app
    .route("/")
    .get((_req, res) => void res.type("text/plain").send(context.config.GREETING))
    .all(reads);
  app
    .route("/status")
    .get((_req, res) => void res.json({ status: "ok" }))
    .all(reads);
  app
    .route("/log")
    .all(countCall(context.metrics.logRequests))
    .post((req, res) => answerAppend(context, req, res, res.locals.requestId))
    .all(onlyMethods("POST"));
  app
    .route("/logs")
    .get(sendLines(context))
    .post(countCall(context.metrics.manyRequests), (req, res) =>
      answerAppendMany(context, req, res, res.locals.requestId),
    )
    .all(onlyMethods("GET", "HEAD", "POST"));
  app
    .route("/livez")
    .get((_req, res) => void res.json({ status: "ok" }))
    .all(reads);
  app.route("/readyz").get(reportReadiness(context)).all(reads);
  app.route("/metrics").get(sendMetrics(context)).all(reads);

  app
    .route("/openapi.yaml")
    .get((_req, res) => void res.type("application/yaml").send(description))
    .all(reads);

  app.use(notFound);
  app.use(answerProblems(context.logger));
  return app;
}

/** GET /metrics and nothing else, for a listener that the mesh leaves alone. */
export function createMetricsApi(context: Context): Express {
  const app = createExpress();
  app.route("/metrics").get(sendMetrics(context)).all(onlyMethods("GET", "HEAD"));
  app.use(notFound);
  app.use(answerProblems(context.logger));
  return app;
}

function createExpress(): Express {
  return express().disable("x-powered-by").disable("etag");
}

function countCall(calls: Metrics["logRequests"]): RequestHandler {
  return (_req, _res, next) => {
    calls.inc();
    next();
  };
}

function reportReadiness(context: Context): RequestHandler {
  return async (_req, res) => {
    if (context.draining) throw new Problem(503, "the service is stopping");
    await context.log.check().catch((cause) => {
      throw new Problem(503, "the log is not writable", { cause });
    });
    res.json({ status: "ok" });
  };
}

function sendMetrics({ log, metrics }: Context): RequestHandler {
  return async (_req, res) => {
    metrics.queueDepth.set(log.queued);
    metrics.fileSize.set(log.size);
    res.set("Content-Type", metrics.registry.contentType).send(await metrics.registry.metrics());
  };
}
