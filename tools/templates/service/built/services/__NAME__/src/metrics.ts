import { collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** The service's metrics and the registry that holds them beside the process's own. */
export interface Metrics {
  registry: Registry;
  /** Seconds per request. */
  requestDuration: Histogram<"method" | "route" | "status_code">;
}

/** Creates the metrics in a registry of their own. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requestDuration = new Histogram({
    name: "http_request_duration_seconds",
    help: "Time from a request's arrival to the end of its answer, by method, route and status code.",
    labelNames: ["method", "route", "status_code"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  return { registry, requestDuration };
}
