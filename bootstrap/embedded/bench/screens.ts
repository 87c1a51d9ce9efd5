/**
 * Measures what the pages and kube-state-metrics cost: `builds` compiles each as a cold bootstrap would, in separate
 * directories; `memory` asks the running platform. Without an argument it does both.
 */
import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import {
  argocd,
  compilerFlag,
  goEnvironment,
  kubeStateMetrics,
  moduleDirectory,
  moduleSource,
} from "../../../lib/modules.ts";
import { run } from "../../../lib/process.ts";
import { findAll, kubectl } from "../../src/kubectl.ts";
import { addPages } from "../src/argocd-pages.ts";
import { url } from "../src/embedded.ts";
import { repository, state } from "../src/layout.ts";
import { ensureBuilt, moduleVersion } from "../src/modules.ts";

const scratch = mkdtempSync(join(tmpdir(), "bench-screens-"));

/** CPU seconds of this process and of all its child processes that have ended. */
function cpuSeconds(): number {
  const fields = readFileSync("/proc/self/stat", "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  // These are utime, stime, cutime and cstime in hundredths of a second.
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

/** Does something, and prints a row of a table with the time that it took. */
async function timed(what: string, work: () => Promise<unknown>): Promise<number> {
  const [started, before] = [Date.now(), cpuSeconds()];
  await work();
  const cpu = cpuSeconds() - before;
  const wall = ((Date.now() - started) / 1000).toFixed(0);
  console.log(`| ${what} | ${wall} | ${cpu.toFixed(0)} | ${loadavg()[0]?.toFixed(0)} |`);
  return cpu;
}

/** The compiled packages of a module, by name, with the id of each build. Go does not compile the same build twice. */
async function compiled(name: "argocd" | "kube-state-metrics"): Promise<Map<string, string>> {
  const cwd = moduleDirectory(repository, name === "argocd" ? argocd : kubeStateMetrics);
  const format = "{{.ImportPath}} {{.BuildID}}";
  const out = await run("go", ["list", "-export", "-deps", "-f", format, "tool"], {
    cwd,
    env: goEnvironment(),
    quiet: true,
  });
  return new Map(
    out
      .trim()
      .split("\n")
      .map((line) => line.split(" ", 2) as [string, string]),
  );
}

/** Compiles those packages of kube-state-metrics that are not in Argo CD, which bootstrap compiles earlier. */
async function kubeStateMetricsBuild(): Promise<[string, () => Promise<unknown>]> {
  const [ours, theirs] = [await compiled("kube-state-metrics"), await compiled("argocd")];
  const missing = [...ours].filter(([path, id]) => theirs.get(path) !== id).map(([path]) => path);
  // These packages are only compiled again with a new flag, which has no effect.
  const mark = `-D=${randomBytes(8).toString("hex")}`;
  const flags = missing.map((path) => `-gcflags=${path}=-trimpath ${compilerFlag} ${mark}`);
  const build = ["build", "-trimpath", ...flags, "-ldflags", "-s -w", "-o", `${scratch}/ksm/`, "tool"];
  const options = {
    cwd: moduleDirectory(repository, kubeStateMetrics),
    env: { ...goEnvironment(), GOGC: "400" },
  };
  return [
    `kube-state-metrics: ${missing.length} of ${ours.size} packages, the others are Argo CD's`,
    () => run("go", build, { ...options, quiet: true }),
  ];
}

async function argocdPages(): Promise<void> {
  const module = join(scratch, "argocd");
  mkdirSync(module);
  cpSync(join(await moduleSource(repository, argocd), "ui"), join(module, "ui"), { recursive: true });
  await addPages(module, moduleVersion("argocd"));
}

async function pagesOfDashboards(): Promise<void> {
  const cwd = join(scratch, "dashboards");
  cpSync(join(repository, "bootstrap/embedded/images/dashboards/page"), cwd, { recursive: true });
  await run("npm", ["ci", "--ignore-scripts"], { cwd, quiet: true });
  await run(process.execPath, ["build.mjs"], { cwd, quiet: true });
}

async function builds(): Promise<void> {
  // With an empty cache, npm uses nothing from an earlier build.
  process.env.npm_config_cache = join(scratch, "npm");
  await ensureBuilt(["argocd", "kube-state-metrics"]);
  console.log("| built | seconds | CPU seconds | load average |\n| --- | --- | --- | --- |");
  const sum =
    (await timed(...(await kubeStateMetricsBuild()))) +
    (await timed("Argo CD's pages, packages fetched", argocdPages)) +
    (await timed("dashboards, alerts and front page, packages fetched", pagesOfDashboards));
  console.log(`| all | | ${sum.toFixed(0)} | |`);
}

interface Stats {
  podRef: { name: string; namespace: string };
  memory?: { workingSetBytes?: number };
}

/** Working sets of the pods in `monitoring`, in bytes, by name. */
async function workingSets(): Promise<Map<string, number>> {
  const nodes = (await findAll<{ metadata: { name: string } }>(["nodes"])) ?? [];
  const found: Stats[] = [];
  for (const { metadata } of nodes) {
    const summary = await kubectl(["get", "--raw", `/api/v1/nodes/${metadata.name}/proxy/stats/summary`]);
    found.push(...(JSON.parse(summary) as { pods: Stats[] }).pods);
  }
  const own = found.filter(({ podRef }) => podRef.namespace === "monitoring");
  return new Map(own.map(({ podRef, memory }) => [podRef.name, memory?.workingSetBytes ?? Number.NaN]));
}

async function number(query: string): Promise<number> {
  const response = await fetch(`${url("prometheus")}/api/v1/query?query=${encodeURIComponent(query)}`);
  const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
  return Number(data.result[0]?.value[1]);
}

async function memory(): Promise<void> {
  process.env.KUBECONFIG = state("kubeconfig", "admin.yaml");
  process.env.PATH = `${state("bin")}:${process.env.PATH}`;
  const sets = await workingSets();
  const of = (prefix: string): number =>
    [...sets].filter(([name]) => name.startsWith(prefix)).reduce((sum, [, bytes]) => sum + bytes, 0);
  const jobs = "kube-state-metrics|apiserver|kubelet";
  const [series, added] = [
    await number('prometheus_tsdb_head_series{job="prometheus"}'),
    await number(`count({job=~"${jobs}"})`),
  ];
  const rows: [string, number][] = [
    ["kube-state-metrics", of("kube-state-metrics")],
    ["dashboards, alerts and front page", of("dashboards")],
    [
      `Prometheus: ${added} of ${series} series are of ${jobs.replaceAll("|", ", ")}`,
      (of("prometheus-prometheus") * added) / series,
    ],
  ];
  console.log("\n| working set | MB |\n| --- | --- |");
  for (const [what, bytes] of rows) console.log(`| ${what} | ${(bytes / 1e6).toFixed(0)} |`);
  console.log(`| all | ${(rows.reduce((sum, [, bytes]) => sum + bytes, 0) / 1e6).toFixed(0)} |`);
}

const [, , what] = process.argv;
try {
  if (what !== "memory") await builds();
  if (what !== "builds") await memory();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
