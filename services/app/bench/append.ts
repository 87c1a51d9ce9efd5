// POST /log in each sync mode beside bare echoes of the same JSON. Prints tables in Markdown.
// The servers take turns, round by round, so that what else the machine does hits all of them; figures are medians.
// With --lines N, POST /logs with N messages in a request too; its columns are of requests, not of lines.
// Usage: npm run bench -- [--lines N] [--rounds 5] [--seconds 2] [--connections 1,10,100,1000] [--bytes 100,4096] [--only name,name]
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { ServerProcess } from "./server-process.ts";

interface Turn {
  requests: number;
  p50: number;
  p99: number;
  p999: number;
  cpuShare: number;
  cpuPerRequest: number;
  failed: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    connections: { type: "string", default: "1,10,100,1000" },
    bytes: { type: "string", default: "100,4096" },
    only: { type: "string" },
    lines: { type: "string" },
    directory: { type: "string", default: tmpdir() },
  },
});
const logs = mkdtempSync(join(values.directory, "app-bench-"));
const service = (SYNC: string, lines?: number, ACCESS_LOG = "problems") => ({
  args: ["--max-semi-space-size=8", "--max-old-space-size=112", "dist/main.js"],
  env: { SYNC, ACCESS_LOG },
  lines,
});
const echo = (name: string) => ({
  args: ["--import", "tsx", "bench/servers.ts", name],
  env: {},
  lines: undefined,
});
const servers = Object.entries({
  "Fastify 5 echo": echo("fastify"),
  "node:http echo": echo("node"),
  "Express 5 echo": echo("express"),
  "POST /log, always": service("always"),
  "POST /log, always, each logged": service("always", undefined, "all"),
  "POST /log, interval": service("interval"),
  "POST /log, never": service("never"),
  ...(values.lines && {
    [`POST /logs, ${values.lines} lines, always`]: service("always", Number(values.lines)),
  }),
}).filter(([name]) => values.only?.split(",").some((part) => name.includes(part)) ?? true);

console.log(
  `Node ${process.version}, ${cpus().length} CPUs (${cpus()[0]?.model}), load ${loadavg()[0]?.toFixed(1)}, ` +
    `medians of ${values.rounds} rounds of ${values.seconds} s\n`,
);
for (const bytes of values.bytes.split(",").map(Number)) {
  for (const connections of values.connections.split(",").map(Number)) {
    console.log(`${bytes} bytes, c = ${connections}\n`);
    console.log(
      "| server | req/s | ÷ Fastify | p50 ms | p99 ms | p99.9 ms | CPU % | CPU µs/req | RSS MB | not 200 |",
    );
    console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (const row of await compare(bytes, connections)) console.log(row);
    console.log();
  }
}
rmSync(logs, { recursive: true });

/** Lets all servers take turns under the same load; a row of the table for each. */
async function compare(bytes: number, connections: number): Promise<string[]> {
  const common = { PATH: process.env.PATH, NODE_ENV: "production", PORT: "0", METRICS_PORT: "0" };
  const running: { name: string; server: ServerProcess; lines: number | undefined; turns: Turn[] }[] = [];
  for (const [name, { args, env, lines }] of servers) {
    const LOG_DIR = mkdtempSync(join(logs, "server-"));
    const server = await ServerProcess.start(args, { ...common, LOG_DIR, DRAIN_SECONDS: "0", ...env });
    running.push({ name, server, lines, turns: [] });
  }
  // The first turn warms up.
  for (const { server, lines } of running) await measure(server, bytes, connections, lines);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const { server, lines, turns } of running)
      turns.push(await measure(server, bytes, connections, lines));
  }
  const fastify = running.find(({ name }) => name.startsWith("Fastify"))?.turns ?? [];
  const rows = running.map(({ name, server, turns }) => {
    const middle = (key: keyof Turn) => median(turns.map((turn) => turn[key])).toFixed(0);
    const ratios = turns.map(({ requests }, round) => requests / (fastify[round]?.requests ?? Number.NaN));
    const times = [middle("p50"), middle("p99"), middle("p999")];
    const cost = [middle("cpuShare"), middle("cpuPerRequest"), server.memory.peak.toFixed(0)];
    const failed = turns.reduce((sum, turn) => sum + turn.failed, 0);
    const cells = [name, middle("requests"), median(ratios).toFixed(2), ...times, ...cost, failed];
    return `| ${cells.join(" | ")} |`;
  });
  await Promise.all(running.map(({ server }) => server.stop()));
  return rows;
}

async function measure(
  server: ServerProcess,
  bytes: number,
  connections: number,
  lines?: number,
): Promise<Turn> {
  const message = JSON.stringify({ message: "x".repeat(bytes) });
  const [start, before] = [performance.now(), server.cpuSeconds];
  const { latency, requests, non2xx, errors } = await autocannon({
    url: `http://127.0.0.1:${server.port}/log${lines === undefined ? "" : "s"}`,
    method: "POST",
    headers: { "content-type": lines === undefined ? "application/json" : "application/x-ndjson" },
    body: Array.from({ length: lines ?? 1 }, () => message).join("\n"),
    connections,
    duration: Number(values.seconds),
  });
  const milliseconds = performance.now() - start;
  const cpuSeconds = server.cpuSeconds - before;
  return {
    requests: (requests.total * 1000) / milliseconds,
    p50: latency.p50,
    p99: latency.p99,
    p999: latency.p99_9,
    cpuShare: (cpuSeconds * 100_000) / milliseconds,
    cpuPerRequest: (cpuSeconds * 1e6) / requests.total,
    failed: non2xx + errors,
  };
}

function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
