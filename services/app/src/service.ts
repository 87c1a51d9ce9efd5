import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { createApi, createMetricsApi } from "./api.ts";
import type { Config } from "./config.ts";
import type { Context } from "./context.ts";
import { LogFile } from "./log-file.ts";
import { createMetrics } from "./metrics.ts";
import { reload } from "./reload.ts";
import { RetryWindow } from "./retries.ts";
import { Room } from "./room.ts";

// With DRAIN_SECONDS this stays below Kubernetes' grace period of 30 s.
const unfinishedRequestsMs = 20_000;

// A retry comes within seconds; this many bytes hold its first attempt and are read in milliseconds.
const retryTailBytes = 4 * 1024 * 1024;

// Envoy closes an idle connection after 1 h. This is longer, so Envoy never sends a request on one that closes here.
const keepAliveMs = 65 * 60_000;

// How long a whole request may take to arrive. A sender that stops in the middle keeps others waiting no longer than this.
const requestMs = 60_000;

// One byte of a body may take eight bytes as text, and the pod has 256 MiB for everything. One write takes about 1 MiB.
const roomBytes = 4 * 1024 * 1024;

/** A running service. */
export interface Service {
  /** The ports that the service listens on, also if the configuration says 0. */
  port: number;
  metricsPort: number;
  /**
   * Applies what `load` returns to requests that arrive from now on, except for the ports and the log's directory.
   * If it throws a ConfigError, everything stays as it is. Both outcomes are logged and counted.
   */
  reload(load: () => Config): void;
  /**
   * Reports itself unready, accepts requests for DRAIN_SECONDS more, finishes those in flight (up to 20 s) and
   * closes the log file. Resolves when nothing is left to do; further calls wait for the first.
   */
  stop(): Promise<void>;
}

/**
 * Opens the log file and listens on both ports. If the log file cannot be opened yet, the service runs but is not ready.
 * Rejects if it cannot listen on a port.
 */
export async function startService(config: Config, logger: Logger): Promise<Service> {
  const metrics = createMetrics();
  const path = join(config.LOG_DIR, "app.log");
  const log = new LogFile(path, config, {
    batch: (lines) => metrics.batchLines.observe(lines),
    synced: (seconds) => metrics.fsyncDuration.observe(seconds),
    syncFailed(err) {
      metrics.syncFailures.inc();
      logger.error({ err, path }, "acknowledged lines may not be on disk");
    },
    rotated() {
      metrics.rotations.inc();
      logger.info({ path }, "rotated the log");
    },
    tornLine(bytes) {
      metrics.tornLines.inc();
      logger.warn({ path, bytes }, "cut off a torn last line");
    },
  });
  const retries = new RetryWindow();
  const rooms = { line: new Room(roomBytes), lines: new Room(roomBytes) };
  const context: Context = { config, draining: false, log, logger, metrics, retries, rooms };
  try {
    await log.open();
    retries.restore(await log.tail(retryTailBytes));
  } catch (err) {
    logger.error({ err, path }, "the log cannot be opened yet");
  }
  const api = createServer(createApi(context));
  api.keepAliveTimeout = keepAliveMs;
  api.requestTimeout = requestMs;
  const metricsApi = createServer(createMetricsApi(context));
  const port = await listen(api, config.PORT);
  const metricsPort = await listen(metricsApi, config.METRICS_PORT);
  logger.info({ port, metricsPort }, "listening");

  const stop = async () => {
    context.draining = true;
    const seconds = context.config.DRAIN_SECONDS;
    logger.info({ seconds }, "draining");
    await sleep(seconds * 1000);
    await close(api);
    await log.close();
    await close(metricsApi);
    logger.info("stopped");
  };
  let stopped: Promise<void> | undefined;
  return {
    port,
    metricsPort,
    reload: (load) => reload(context, load),
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}

async function listen(server: Server, port: number): Promise<number> {
  server.listen(port);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  // A connection becomes idle only when its request has finished, so they are closed again and again.
  const idle = setInterval(() => server.closeIdleConnections(), 100);
  const deadline = setTimeout(() => server.closeAllConnections(), unfinishedRequestsMs);
  await closed;
  clearInterval(idle);
  clearTimeout(deadline);
}
