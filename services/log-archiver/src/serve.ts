import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { reasonOf } from "./failure.ts";
import { metricsOf } from "./metrics.ts";
import type { StoreWatch } from "./store-watch.ts";

/** Listens on a port (0: any free one) and answers GET /metrics and GET /livez. Rejects if the port cannot be had. */
export async function serve(directory: string, port: number, stores?: StoreWatch): Promise<Server> {
  const server = createServer((req, res) => {
    const send = (status: number, type: string, text: string): void =>
      void res.writeHead(status, { "content-type": type }).end(req.method === "HEAD" ? undefined : text);
    if (req.method !== "GET" && req.method !== "HEAD") return send(405, "text/plain", "only GET and HEAD\n");
    if (req.url === "/livez") return send(200, "application/json", '{"status":"ok"}');
    if (req.url !== "/metrics") return send(404, "text/plain", "there is /metrics and /livez\n");
    metricsOf(directory, stores).then(
      ({ type, text }) => send(200, type, text),
      (error) => send(500, "text/plain", `${reasonOf(error)}\n`),
    );
  });
  server.listen(port);
  await once(server, "listening");
  return server;
}
