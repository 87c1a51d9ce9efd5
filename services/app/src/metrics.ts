import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** The service's metrics and the registry that holds them beside the process's own. */
export interface Metrics {
  registry: Registry;
  /** Calls of /log, whatever their outcome. */
  logRequests: Counter;
  /** Calls of POST /logs, whatever their outcome. */
  manyRequests: Counter;
  /** Lines that were to be written, by result. A call that is refused before that counts as neither. */
  logWrites: Counter<"result">;
  /** Requests that repeated an earlier one and were answered with its outcome. */
  logRetries: Counter;
  /** Seconds per fdatasync that succeeded. */
  fsyncDuration: Histogram;
  /** Syncs that failed after their write had succeeded, which only `SYNC=interval` allows. */
  syncFailures: Counter;
  /** Lines per write. */
  batchLines: Histogram;
  /** Lines that wait for a write; set when the metrics are asked for. */
  queueDepth: Gauge;
  /** Bytes of the file being written; set when the metrics are asked for. */
  fileSize: Gauge;
  rotations: Counter;
  /** Incomplete lines that a crash left behind and that were removed. */
  tornLines: Counter;
  /** New versions of the configuration, by whether they were applied. */
  configReloads: Counter<"result">;
  /** 1 while the mounted configuration is in use, 0 after it was refused. */
  configCurrent: Gauge;
  /** Seconds per request. */
  requestDuration: Histogram<"method" | "route" | "status_code">;
}

/** Creates the metrics in a registry of their own; results start at 0. */
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
    manyRequests: new Counter({
      name: "log_many_requests_total",
      help: "Requests to POST /logs, whatever their outcome.",
      registers,
    }),
    logWrites: new Counter({
      name: "log_writes_total",
      help: "Log lines by the result of writing them to disk.",
      labelNames: ["result"],
      registers,
    }),
    logRetries: new Counter({
      name: "log_retries_total",
      help: "Retried requests that were answered with the outcome of the first, and not written again.",
      registers,
    }),
    fsyncDuration: new Histogram({
      name: "log_fsync_duration_seconds",
      help: "Time of each fdatasync of the log file that succeeded.",
      buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    syncFailures: new Counter({
      name: "log_sync_failures_total",
      help: "Syncs that failed after their lines had been acknowledged, which only SYNC=interval allows.",
      registers,
    }),
    batchLines: new Histogram({
      name: "log_batch_lines",
      help: "Lines that shared one write.",
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
      registers,
    }),
    queueDepth: new Gauge({
      name: "log_queue_depth",
      help: "Lines that wait for a write.",
      registers,
    }),
    fileSize: new Gauge({
      name: "log_file_size_bytes",
      help: "Size of the log file being written, without its rotated generations.",
      registers,
    }),
    rotations: new Counter({
      name: "log_rotations_total",
      help: "Times that the log file was rotated.",
      registers,
    }),
    tornLines: new Counter({
      name: "log_torn_lines_total",
      help: "Incomplete lines that a crash left at the end of the log file and that were removed.",
      registers,
    }),
    configReloads: new Counter({
      name: "config_reloads_total",
      help: "Changed configurations by whether they were applied.",
      labelNames: ["result"],
      registers,
    }),
    configCurrent: new Gauge({
      name: "config_last_reload_successful",
      help: "Whether the last configuration found was applied (1) or refused (0).",
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
  for (const result of ["success", "failure"]) {
    metrics.logWrites.inc({ result }, 0);
    metrics.configReloads.inc({ result }, 0);
  }
  metrics.configCurrent.set(1);
  return metrics;
}
