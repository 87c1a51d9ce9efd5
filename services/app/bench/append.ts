// POST /log in each sync mode beside bare echoes of the same JSON. Prints a table in Markdown.
// Usage: npm run bench -- [--seconds 5] [--connections 1,10,100,1000] [--bytes 100,4096] [--only name,name]
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { ServerProcess } from "./server-process.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "1,10,100,1000" },
    bytes: { type: "string", default: "100,4096" },
    only: { type: "string" },
    directory: { type: "string", default: tmpdir() },
  },
});
const LOG_DIR = mkdtempSync(join(values.directory, "app-bench-"));
const service = (SYNC: string) => ({ args: ["--max-semi-space-size=8", "dist/main.js"], env: { SYNC } });
const echo = (name: string) => ({ args: ["--import", "tsx", "bench/servers.ts", name], env: {} });
const servers = new Map(
  Object.entries({
    "node:http echo": echo("node"),
    "Fastify 5 echo": echo("fastify"),
    "Express 5 echo": echo("express"),
    "POST /log, always": service("always"),
    "POST /log, interval": service("interval"),
    "POST /log, never": service("never"),
  }).filter(([name]) => values.only?.split(",").some((part) => name.includes(part)) ?? true),
);

console.log(
  `Node ${process.version}, ${cpus().length} CPUs (${cpus()[0]?.model}), ${values.seconds} s each\n`,
);
for (const bytes of values.bytes.split(",").map(Number)) {
  for (const connections of values.connections.split(",").map(Number)) {
    console.log(`${bytes} bytes, c = ${connections}\n`);
    console.log("| server | req/s | p50 ms | p99 ms | p99.9 ms | CPU % | CPU µs/req | RSS MB | not 200 |");
    console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (const [name, { args, env }] of servers) {
      console.log(await measure(name, args, env, bytes, connections));
    }
    console.log();
  }
}
rmSync(LOG_DIR, { recursive: true });

/** One row: a server of its own, warmed up for a second. */
async function measure(
  name: string,
  args: string[],
  env: Record<string, string>,
  bytes: number,
  connections: number,
): Promise<string> {
  const common = { PATH: process.env.PATH, NODE_ENV: "production", PORT: "0", METRICS_PORT: "0" };
  const server = await ServerProcess.start(args, { ...common, LOG_DIR, DRAIN_SECONDS: "0", ...env });
  const load = (duration: number) =>
    autocannon({
      url: `http://127.0.0.1:${server.port}/log`,
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ message: "x".repeat(bytes) }),
      connections,
      duration,
    });
  await load(1);
  const [start, before] = [performance.now(), server.cpuSeconds];
  const result = await load(Number(values.seconds));
  const cpuSeconds = server.cpuSeconds - before;
  const share = (cpuSeconds * 100_000) / (performance.now() - start);
  const { peak } = server.memory;
  await server.stop();
  const { latency, requests, non2xx, errors } = result;
  const perRequest = (cpuSeconds * 1e6) / requests.total;
  const times = [latency.p50, latency.p99, latency.p99_9].map((ms) => ms.toFixed(0));
  const cells = [
    name,
    requests.average.toFixed(0),
    ...times,
    share.toFixed(0),
    perRequest.toFixed(0),
    peak.toFixed(0),
  ];
  return `| ${cells.join(" | ")} | ${non2xx + errors} |`;
}
