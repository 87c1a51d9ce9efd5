/** What rules and dashboards ask of the app, the app exports; the rest is asked of the running platform in e2e. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { kubeStateMetrics, moduleSource } from "../../../lib/modules.ts";
import { checkout } from "../../../lib/repository.ts";
import { createMetrics } from "../../../services/app/src/metrics.ts";
import { expressions, ruleFolders, selectorsIn } from "../expressions.ts";
import { findPromtool } from "./promtool.ts";

const directory = mkdtempSync(join(tmpdir(), "contract-"));
let promtool: string;
beforeAll(async () => {
  promtool = await findPromtool(directory);
}, 900_000);
afterAll(() => rmSync(directory, { recursive: true }));

/** The app's metrics as it exports them, with one sample of each. */
async function page(): Promise<string> {
  const { registry, requestDuration } = createMetrics();
  requestDuration.observe({ method: "POST", route: "/log", status_code: "200" }, 0.01);
  return registry.metrics();
}

test("promtool check metrics finds nothing in the app's metrics", async () => {
  const text = (await page())
    .split("\n")
    // Of the library for Node: _total on a gauge, as its names are older than the rule.
    .filter((line) => !line.includes("nodejs_active_"))
    .join("\n");
  const { exitCode, all } = await execa(promtool, ["check", "metrics"], {
    input: `${text}\n`,
    reject: false,
    all: true,
  });
  expect(exitCode, all).toBe(0);
  expect(all).toBe("");
});

test("every metric and label of the app in a rule or dashboard is one that it exports", async () => {
  const samples = (await page()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const exported = new Map<string, Set<string>>();
  for (const line of samples) {
    const [, name = "", labels = ""] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? [];
    const known =
      exported.get(name) ?? new Set(["job", "namespace", "pod", "instance", "container", "endpoint"]);
    for (const [, label = ""] of labels.matchAll(/(\w+)=/g)) known.add(label);
    exported.set(name, known);
  }
  const own = /^(log_(?!agent_|archive|store|search)|http_request_|config_|nodejs_)/;
  const used = expressions(checkout).flatMap(({ where, expression }) =>
    selectorsIn(expression)
      .filter(({ metric }) => own.test(metric))
      .map((selector) => ({ where, ...selector })),
  );
  expect(used.length).toBeGreaterThan(5);
  const missing = used.flatMap(({ where, metric, labels }) => {
    const known = exported.get(metric);
    if (!known) return [`${where}: ${metric}`];
    return labels.filter((label) => !known.has(label)).map((label) => `${where}: ${metric}{${label}}`);
  });
  expect(missing).toEqual([]);
});

test("every metric and label of kube-state-metrics in a rule or dashboard is one that it documents", async () => {
  const pages = join(await moduleSource(checkout, kubeStateMetrics), "docs/metrics");
  const documented = new Map<string, string>();
  for (const file of readdirSync(pages, { recursive: true, encoding: "utf8" }))
    if (file.endsWith(".md"))
      for (const row of readFileSync(join(pages, file), "utf8").matchAll(/^\| (kube_\w+) .*$/gm))
        documented.set(row[1] ?? "", row[0]);
  const used = expressions(checkout).flatMap(({ where, expression }) =>
    selectorsIn(expression)
      // What it says of itself stands on no page.
      .filter(({ metric }) => /^kube_(?!state_metrics_)/.test(metric))
      .map((selector) => ({ where, ...selector })),
  );
  expect(used.length).toBeGreaterThan(20);
  const missing = used.flatMap(({ where, metric, labels }) => {
    const row = documented.get(metric);
    if (row === undefined) return [`${where}: ${metric}`];
    return labels
      .filter((label) => label !== "job" && !row.includes(`\`${label}\``))
      .map((label) => `${where}: ${metric}{${label}}`);
  });
  expect(missing).toEqual([]);
});

test("every rule's file is looked at", () => {
  const files = ruleFolders
    .flatMap((folder) => readdirSync(join(checkout, folder)))
    .filter((file) => file.startsWith("prometheusrule"));
  const seen = new Set(expressions(checkout).map(({ where }) => where.split(" ")[0]));
  expect([...seen]).toEqual(expect.arrayContaining(files));
  expect(readFileSync(join(checkout, "e2e/monitoring.test.ts"), "utf8")).toContain("expressions(repository)");
});
