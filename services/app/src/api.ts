import { randomUUID } from "node:crypto";
import { pipeline } from "node:stream/promises";
import express, { type Express, type RequestHandler } from "express";
import type { Logger } from "pino";
import { z } from "zod";
import type { Config } from "./config.ts";
import { formatLine } from "./line.ts";
import type { LogFile } from "./log-file.ts";
import type { Metrics } from "./metrics.ts";
import { answerProblems, notFound, onlyMethods, Problem } from "./problem.ts";

/** What the request handlers share. `config` and `draining` are looked at anew for each request. */
export interface Context {
  config: Config;
  draining: boolean;
  log: LogFile;
  logger: Logger;
  metrics: Metrics;
}

const maxBodyBytes = 64 * 1024;
const quietRoutes = new Set(["/livez", "/readyz", "/metrics"]);
const diskFullCodes = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

const logBody = z.object(
  {
    message: z
      .string({
        error: ({ input }) => (input === undefined ? "message is missing" : "message must be a string"),
      })
      .min(1, "message must not be empty")
      .refine((text) => text.isWellFormed(), "message must not hold half a surrogate pair"),
  },
  { error: "the body must be a JSON object with a message" },
);

/** The API: every route of the service. */
export function createApi(context: Context): Express {
  const app = createExpress();
  const reads = onlyMethods("GET", "HEAD");
  app.use(observe(context));

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
    .post(express.raw({ type: () => true, limit: maxBodyBytes }), appendLine(context))
    .all(onlyMethods("POST"));
  app.route("/logs").get(sendLines(context)).all(reads);
  app
    .route("/livez")
    .get((_req, res) => void res.json({ status: "ok" }))
    .all(reads);
  app.route("/readyz").get(reportReadiness(context)).all(reads);
  app.route("/metrics").get(sendMetrics(context.metrics)).all(reads);

  app.use(notFound);
  app.use(answerProblems(context.logger));
  return app;
}

/** GET /metrics and nothing else, for a listener that the mesh leaves alone. */
export function createMetricsApi({ metrics, logger }: Context): Express {
  const app = createExpress();
  app.route("/metrics").get(sendMetrics(metrics)).all(onlyMethods("GET", "HEAD"));
  app.use(notFound);
  app.use(answerProblems(logger));
  return app;
}

function createExpress(): Express {
  return express().disable("x-powered-by").disable("etag");
}

/** Gives the request its id, and measures and logs it when its answer has ended or broken off. */
function observe(context: Context): RequestHandler {
  return (req, res, next) => {
    const start = process.hrtime.bigint();
    const given = req.get("x-request-id");
    const requestId = given !== undefined && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
    res.locals.requestId = requestId;
    res.set("x-request-id", requestId);
    if (context.draining) res.set("Connection", "close");
    res.on("close", () => {
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      const route: string = req.route?.path ?? "unmatched";
      // 499: the caller left before there was an answer.
      const status = res.headersSent ? res.statusCode : 499;
      context.metrics.requestDuration.observe({ method: req.method, route, status_code: status }, seconds);
      const fields = { requestId, method: req.method, route, status, seconds };
      context.logger[quietRoutes.has(route) ? "debug" : "info"](fields, "request");
    });
    next();
  };
}

function countCall({ logRequests }: Metrics): RequestHandler {
  return (_req, _res, next) => {
    logRequests.inc();
    next();
  };
}

function appendLine({ log, metrics }: Context): RequestHandler {
  return async (req, res) => {
    const { message } = readBody(req.body);
    const line = formatLine({ time: new Date().toISOString(), id: res.locals.requestId, message });
    try {
      await log.append(line);
    } catch (cause) {
      metrics.logWrites.inc({ result: "failure" });
      const full = diskFullCodes.has((cause as NodeJS.ErrnoException).code ?? "");
      if (full) throw new Problem(507, "there is no space left for the message", { cause });
      throw new Problem(503, "the message could not be stored", { cause });
    }
    metrics.logWrites.inc({ result: "success" });
    res.json({ status: "ok" });
  };
}

/** The message in a request's bytes. Throws a Problem that says what is wrong with them. */
function readBody(bytes: Buffer | undefined): z.output<typeof logBody> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Problem(400, "the body must be JSON in UTF-8, with a message");
  }
  const result = logBody.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path[0];
  throw new Problem(
    400,
    issue?.message ?? "invalid body",
    field === undefined ? {} : { field: String(field) },
  );
}

function sendLines({ log }: Context): RequestHandler {
  return async (req, res) => {
    const stream = await log.read().catch((cause) => {
      throw new Problem(503, "the log cannot be read", { cause });
    });
    res.type("text/plain");
    if (req.method === "HEAD") {
      stream.destroy();
      return void res.end();
    }
    try {
      await pipeline(stream, res);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
    }
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

function sendMetrics({ registry }: Metrics): RequestHandler {
  return async (_req, res) => {
    res.set("Content-Type", registry.contentType).send(await registry.metrics());
  };
}
