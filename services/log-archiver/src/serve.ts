import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { reasonOf } from "./failure.ts";
import type { Feeder } from "./feed.ts";
import { metricsOf } from "./metrics.ts";
import type { StoreWatch } from "./store-watch.ts";

/** Listens on a port (0: any free one) and answers GET /metrics and GET /livez. Rejects if it cannot listen. */
export function serve(directory: string, port: number, stores?: StoreWatch): Promise<Server> {
  return answer(port, () => metricsOf(directory, stores));
}

// A round reads at most one batch of each store, and none of its requests waits longer than a minute.
const stuckMs = 300_000;

/** The same for a feeder, which counts as alive as long as its rounds end. */
export function serveFigures(port: number, feeder: Feeder): Promise<Server> {
  const { registry } = feeder;
  return answer(
    port,
    async () => ({ type: registry.contentType, text: await registry.metrics() }),
    () => Date.now() - feeder.lastRound < stuckMs,
  );
}

async function answer(
  port: number,
  metrics: () => Promise<{ type: string; text: string }>,
  alive = () => true,
): Promise<Server> {
  const server = createServer((req, res) => {
    const send = (status: number, type: string, text: string): void =>
      void res.writeHead(status, { "content-type": type }).end(req.method === "HEAD" ? undefined : text);
    if (req.method !== "GET" && req.method !== "HEAD") return send(405, "text/plain", "only GET and HEAD\n");
    if (req.url === "/livez")
      return alive()
        ? send(200, "application/json", '{"status":"ok"}')
        : send(503, "application/json", '{"status":"stuck"}');
    if (req.url !== "/metrics") return send(404, "text/plain", "there is /metrics and /livez\n");
    metrics().then(
      ({ type, text }) => send(200, type, text),
      (error) => send(500, "text/plain", `${reasonOf(error)}\n`),
    );
  });
  server.listen(port);
  await once(server, "listening");
  return server;
}
