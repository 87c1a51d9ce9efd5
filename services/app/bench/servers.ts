// The servers that POST /log is measured beside; each answers a POST of JSON with the same JSON.
import { createServer } from "node:http";
import express from "express";
import Fastify from "fastify";

const [name] = process.argv.slice(2);
const ready = (port: number) => console.log(JSON.stringify({ msg: "listening", port }));

if (name === "express") {
  const app = express();
  app.use(express.json());
  app.post("/log", (req, res) => void res.json(req.body));
  const server = app.listen(0, "127.0.0.1", () => ready(portOf(server.address())));
} else if (name === "fastify") {
  const app = Fastify();
  app.post("/log", async (req) => req.body);
  await app.listen({ port: 0, host: "127.0.0.1" });
  ready(portOf(app.server.address()));
} else if (name === "node") {
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk) => chunks.push(chunk));
    req.on("end", () => {
      const body = JSON.stringify(JSON.parse(Buffer.concat(chunks).toString()));
      res.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
      res.end(body);
    });
  });
  server.listen(0, "127.0.0.1", () => ready(portOf(server.address())));
} else {
  throw new Error(`no server is named ${name}`);
}

function portOf(address: unknown): number {
  return (address as { port: number }).port;
}
