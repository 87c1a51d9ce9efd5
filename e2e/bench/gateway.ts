// POST /log through the gateway with its limits for a client (gitops/platform/gateway, and the load balancer's share) and without
// them, by turns on one running platform, so that what else the machine does hits both. Prints a table in Markdown.
// Meanwhile the Application gateway is paused and the share of faults is 0; both are put back, after Ctrl-C too.
// Usage: npm run bench:gateway -- [--rounds 5] [--seconds 5] [--connections 4]
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Pool } from "undici";
import { until } from "../../lib/failure.ts";
import { converged } from "../applications.ts";
import { Clone } from "../clone.ts";
import { kubectl } from "../kubectl.ts";
import { stateDirectory } from "../machine.ts";
import { gateways, proxyConfig, setFaultShare } from "../mesh.ts";
import { exported, setup } from "../platform.ts";

interface Turn {
  perSecond: number;
  p50: number;
  p99: number;
  failed: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "4" },
  },
});
const [rounds, seconds, connections] = [values.rounds, values.seconds, values.connections].map(Number) as [
  number,
  number,
  number,
];
const limits = ["--namespace", "istio-system", "envoyfilter", "client-limits"];
const pause = ["--namespace", "argocd", "annotate", "application", "gateway", "--overwrite"];
const paused = "argocd.argoproj.io/skip-reconcile";

await setup();
const directory = mkdtempSync(join(tmpdir(), "bench-gateway-"));
const unlimited = 18080;
const clone = await Clone.make();
let balancer: ReturnType<typeof spawn> | undefined;
let filter = "";
const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());

try {
  await setFaultShare(clone, 0);
  balancer = startBalancer();
  await kubectl([...pause, `${paused}=true`]);
  filter = withoutServerFields(await kubectl(["get", ...limits, "--output", "json"]));
  const turns: Record<"with" | "without", Turn[]> = { with: [], without: [] };
  for (let round = 0; round <= rounds && !stopped.signal.aborted; round++)
    // Whichever comes first has the other's warmth: they change places.
    for (const which of round % 2 === 0 ? (["with", "without"] as const) : (["without", "with"] as const)) {
      await switchLimits(which === "with");
      const turn = await load(which === "with" ? exported("APP_URL") : `http://127.0.0.1:${unlimited}`);
      // The first round warms up.
      if (round > 0) turns[which].push(turn);
    }
  report(turns);
} finally {
  if (filter) await kubectl(["apply", "--filename", "-"], filter);
  await kubectl([...pause, `${paused}-`]);
  balancer?.kill();
  const commit = await clone.putBack();
  if (commit !== undefined) await converged(commit);
  clone.remove();
  rmSync(directory, { recursive: true });
}

/** The load balancer's section of the app at another port, without a share for each client. */
function startBalancer(): ReturnType<typeof spawn> {
  const text = readFileSync(join(stateDirectory, "config/haproxy.cfg"), "utf8");
  const section = (name: string): string => new RegExp(`^${name}\\n(?: .*\\n)*`, "m").exec(text)?.[0] ?? "";
  const app = section("listen app")
    .replace(/bind .*/, `bind 127.0.0.1:${unlimited}`)
    .replace(/^ {2}(stick-table|tcp-request) .*\n/gm, "");
  const file = join(directory, "haproxy.cfg");
  writeFileSync(file, `global\n  maxconn 9000\n  no strict-limits\n\n${section("defaults")}\n${app}`);
  return spawn("haproxy", ["-db", "-f", file], { stdio: "inherit" });
}

function withoutServerFields(text: string): string {
  const { apiVersion, kind, metadata, spec } = JSON.parse(text);
  const { name, namespace, labels, annotations } = metadata;
  return JSON.stringify({ apiVersion, kind, metadata: { name, namespace, labels, annotations }, spec });
}

/** Applies the EnvoyFilter or takes it away, and waits until every gateway has it so. */
async function switchLimits(on: boolean): Promise<void> {
  if (on) await kubectl(["apply", "--filename", "-"], filter);
  else await kubectl(["delete", "--ignore-not-found", ...limits]);
  for (const pod of await gateways())
    await until(`the limits at ${pod.metadata.name}`, 120, async () => {
      const has = JSON.stringify(await proxyConfig("listeners", pod)).includes("local_ratelimit");
      return has === on ? undefined : `are ${has ? "still there" : "not there yet"}`;
    });
  // A listener that was replaced drains the connections of the one before.
  await new Promise((done) => setTimeout(done, 2000));
}

/** Sends lines over so many connections for so long. */
async function load(url: string): Promise<Turn> {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const times: number[] = [];
  let failed = 0;
  const started = performance.now();
  const client = async (): Promise<void> => {
    while (performance.now() - started < seconds * 1000) {
      const sent = performance.now();
      const { statusCode, body } = await pool.request({
        path: "/log",
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ message: "x".repeat(100) }),
      });
      await body.dump();
      if (statusCode === 200) times.push(performance.now() - sent);
      else failed++;
    }
  };
  await Promise.all(Array.from({ length: connections }, client));
  const took = (performance.now() - started) / 1000;
  await pool.close();
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
  return { perSecond: times.length / took, p50: at(0.5), p99: at(0.99), failed };
}

function report(turns: Record<"with" | "without", Turn[]>): void {
  const median = (which: "with" | "without", field: keyof Turn): number =>
    turns[which].map((turn) => turn[field]).sort((a, b) => a - b)[Math.floor(turns[which].length / 2)] ?? 0;
  const load = loadavg().map((value) => value.toFixed(1));
  console.log(
    `${connections} connections, medians of ${turns.with.length} rounds of ${seconds} s, ${cpus().length} CPUs, load ${load.join(" ")}\n`,
  );
  console.log("| limits | req/s | p50 ms | p99 ms | not 200 |\n| --- | --- | --- | --- | --- |");
  for (const which of ["with", "without"] as const) {
    const [rate, p50, p99] = [median(which, "perSecond"), median(which, "p50"), median(which, "p99")];
    const failed = turns[which].reduce((sum, turn) => sum + turn.failed, 0);
    console.log(`| ${which} | ${rate.toFixed(0)} | ${p50.toFixed(2)} | ${p99.toFixed(1)} | ${failed} |`);
  }
  const ratio = (field: keyof Turn): string => (median("with", field) / median("without", field)).toFixed(2);
  console.log(`\nwith ÷ without: time of a request ${ratio("p50")}, requests a second ${ratio("perSecond")}`);
  const each = (which: "with" | "without"): string =>
    turns[which].map(({ p50, perSecond }) => `${p50.toFixed(1)} (${perSecond.toFixed(0)}/s)`).join(", ");
  console.log(`p50 of each round: with ${each("with")}; without ${each("without")}`);
}
