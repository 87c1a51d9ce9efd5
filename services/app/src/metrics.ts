import { Counter, collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** The service's metrics and the registry that holds them beside the process's own. */
export interface Metrics {
  registry: Registry;
  /** Calls of /log, whatever came of them. */
  logRequests: Counter;
  /** Lines that were to be written, by result. A call refused before that counts in neither. */
  logWrites: Counter<"result">;
  /** Seconds per request. */
  requestDuration: Histogram<"method" | "route" | "status_code">;
}

/** Creates the metrics in a registry of their own; both results of a write start at 0. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const metrics: Metrics = {
    registry,
    logRequests: new Counter({
      name: "log_requests_total",
      help: "Requests to /log, whatever their outcome.",
      registers,
    }),
    logWrites: new Counter({
      name: "log_writes_total",
      help: "Log lines by the result of writing them to disk.",
      labelNames: ["result"],
      registers,
    }),
    requestDuration: new Histogram({
      name: "http_request_duration_seconds",
      help: "Time from a request's arrival to the end of its answer, by method, route and status code.",
      labelNames: ["method", "route", "status_code"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    }),
  };
  for (const result of ["success", "failure"]) metrics.logWrites.inc({ result }, 0);
  return metrics;
}
