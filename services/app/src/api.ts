import { readFileSync } from "node:fs";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import express, { type Express, type RequestHandler } from "express";
import { answerAppend } from "./append.ts";
import type { Context } from "./context.ts";
import { sendLines } from "./logs.ts";
import type { Metrics } from "./metrics.ts";
import { observe } from "./observe.ts";
import { answerProblems, notFound, onlyMethods, Problem } from "./problem.ts";

// Beside src/ and beside dist/.
const description = readFileSync(new URL("../openapi.yaml", import.meta.url), "utf8");

/**
 * The API. `POST /log` is answered ahead of Express's router, which costs more than the rest of the request; every
 * other spelling of that path reaches the same handler through it.
 */
export function createApi(context: Context): RequestListener {
  const routes = createRoutes(context);
  const log = { path: "/log" };
  return (req: IncomingMessage & { route?: typeof log }, res: ServerResponse) => {
    if (req.url !== "/log" || req.method !== "POST") return routes(req, res);
    req.route = log;
    const requestId = observe(context, req, res);
    context.metrics.logRequests.inc();
    void answerAppend(context, req, res, requestId);
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
    .all(countCall(context.metrics))
    .post((req, res) => answerAppend(context, req, res, res.locals.requestId))
    .all(onlyMethods("POST"));
  app.route("/logs").get(sendLines(context)).all(reads);
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

function countCall({ logRequests }: Metrics): RequestHandler {
  return (_req, _res, next) => {
    logRequests.inc();
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
