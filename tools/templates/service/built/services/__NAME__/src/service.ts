import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { type Context, createApi, createMetricsApi } from "./api.ts";
import type { Config } from "./config.ts";
import { createMetrics } from "./metrics.ts";

// With the seconds of draining this stays below Kubernetes' grace period of 30 s, of which preStop takes 5.
const unfinishedRequestsMs = 15_000;

// Longer than Envoy keeps an idle connection (1 h), so that it never sends a request on one that is being closed here.
const keepAliveMs = 65 * 60_000;

/** A running service. */
export interface Service {
  /** The ports that are listened on, also where the configuration says 0. */
  port: number;
  metricsPort: number;
  /** Reports itself unready, takes requests for drainSeconds more, and finishes those in flight. Further calls wait too. */
  stop(): Promise<void>;
}

/** Listens on both ports. Rejects if a port cannot be had. */
export async function startService(config: Config, logger: Logger): Promise<Service> {
  const metrics = createMetrics();
  const context: Context = { greeting: config.greeting, draining: false, logger, metrics };
  const api = createServer(createApi(context));
  api.keepAliveTimeout = keepAliveMs;
  const metricsApi = createServer(createMetricsApi(context));
  const port = await listen(api, config.port);
  const metricsPort = await listen(metricsApi, config.metricsPort);
  logger.info({ port, metricsPort }, "listening");
  const stop = async () => {
    context.draining = true;
    logger.info({ seconds: config.drainSeconds }, "draining");
    await sleep(config.drainSeconds * 1000);
    await close(api);
    await close(metricsApi);
    logger.info("stopped");
  };
  let stopped: Promise<void> | undefined;
  return {
    port,
    metricsPort,
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
  // Connections that finish their request later become idle then, not now.
  const idle = setInterval(() => server.closeIdleConnections(), 100);
  const deadline = setTimeout(() => server.closeAllConnections(), unfinishedRequestsMs);
  await closed;
  clearInterval(idle);
  clearTimeout(deadline);
}
