import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { dump, load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderObjects } from "../../../lib/render/kustomize.ts";
import { checkout } from "../../../lib/repository.ts";
import { sweep } from "../../../lib/test/long.ts";
import { serviceRuleFolders } from "../expressions.ts";
import { findPromtool } from "./promtool.ts";

interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

// On a fresh machine promtool is compiled here.
const coldStart = 900_000;
const cases = join(import.meta.dirname, "rules");
const directory = mkdtempSync(join(tmpdir(), "rules-"));
const monitoring = "gitops/platform/monitoring";
const rendered = [
  ...["overlays/embedded", "overlays/upstream", "stack/embedded"].map((path) => `${monitoring}/${path}`),
  ...serviceRuleFolders,
];
let promtool: string;
let rules: Rule[];
/** Names of the alerts of a directory, by what is rendered. */
const alertsOf = new Map<string, string[]>();

beforeAll(async () => {
  promtool = await findPromtool(directory);
  const groups = new Map<string, { name: string; rules: Rule[] }>();
  for (const path of rendered) {
    const objects = await renderObjects(join(checkout, path));
    const own = objects
      .filter(({ kind }) => kind === "PrometheusRule")
      .flatMap(({ spec }) => spec.groups as { name: string; rules: Rule[] }[]);
    for (const group of own) groups.set(group.name, group);
    alertsOf.set(
      path,
      own.flatMap((group) => group.rules.flatMap(({ alert }) => alert ?? [])),
    );
  }
  rules = [...groups.values()].flatMap((group) => group.rules);
  writeFileSync(join(directory, "rules.yaml"), dump({ groups: [...groups.values()] }));
  for (const file of readdirSync(cases)) {
    const text = readFileSync(join(cases, file), "utf8");
    const own = {
      groups: [...groups.values()].map((group) => ({ ...group, rules: namedIn(text, group.rules) })),
    };
    writeFileSync(join(directory, `rules-of-${file}`), dump(own));
    expect(text).toContain("\n  - rules.yaml\n");
    writeFileSync(join(directory, file), text.replace("\n  - rules.yaml\n", `\n  - rules-of-${file}\n`));
  }
}, coldStart);

afterAll(() => rmSync(directory, { recursive: true }));

/**
 * The rules that cases name, and those that they are made from: promtool evaluates every rule of its file for each
 * case, at each step. Cases that look at alerts without a name get all.
 */
function namedIn(text: string, of: Rule[]): Rule[] {
  if (/ALERTS(?!\{[^}]*alertname="\w)/.test(text)) return of;
  const words = new Set(text.match(/[\w:]+/g));
  for (let before = -1; before < words.size; ) {
    before = words.size;
    for (const { record, alert, expr } of rules)
      if (words.has(record ?? alert ?? "")) for (const word of expr.match(/[\w:]+/g) ?? []) words.add(word);
  }
  return of.filter(({ record, alert }) => words.has(record ?? alert ?? ""));
}

const run = (...args: string[]): Promise<{ exitCode?: number; all: string }> =>
  execa(promtool, args, { cwd: directory, reject: false, all: true });

test("promtool check rules finds nothing", async () => {
  const { exitCode, all } = await run("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml");
  expect(all).toContain("SUCCESS");
  expect(exitCode, all).toBe(0);
});

test("promtool check config accepts how the kubelets are scraped", async () => {
  const kubelets = join(checkout, "gitops/platform/monitoring/stack/embedded/prometheus/kubelets.yaml");
  const text = readFileSync(kubelets, "utf8");
  const configuration = `scrape_configs:\n${text.replace(/^/gm, "  ")}\n`;
  writeFileSync(join(directory, "prometheus.yaml"), configuration);
  const { exitCode, all } = await run("check", "config", "--syntax-only", "prometheus.yaml");
  expect(exitCode, all).toBe(0);
  expect(load(configuration)).toMatchObject({ scrape_configs: [{}, {}] });
});

sweep(readdirSync(cases), 1)("promtool test rules %s", async (file) => {
  const { exitCode, all } = await run("test", "rules", file);
  expect(exitCode, all).toBe(0);
});

describe("every alert", () => {
  const alerts = (): Rule[] => rules.filter(({ alert }) => alert !== undefined);

  test("has a case that fires and one that stays quiet", () => {
    const names = readdirSync(cases).flatMap((file) =>
      (load(readFileSync(join(cases, file), "utf8")) as { tests: { name: string }[] }).tests.map(
        ({ name }) => name,
      ),
    );
    const untested = alerts()
      .flatMap(({ alert }) => [`${alert} fires: `, `${alert} stays quiet: `])
      // It always fires.
      .filter((start) => start !== "Watchdog stays quiet: ")
      .filter((start) => !names.some((name) => name.startsWith(start)));
    expect(untested).toEqual([]);
  });

  test("is told once: where the chart brings its rules, ours of the same things are not", () => {
    const [embedded, upstream, stack] = rendered.map((path) => alertsOf.get(path) ?? []);
    expect(stack?.length).toBeGreaterThan(40);
    expect(upstream?.length).toBeGreaterThan(10);
    for (const shared of [embedded, upstream])
      expect(shared?.filter((name) => stack?.includes(name))).toEqual([]);
    // How the chart's own begin.
    const charts =
      /^(Kube|Node|Prometheus|Alertmanager|[eE]tcd|ConfigReloader|CPUThrottling|Info|Watchdog|TargetDown)/;
    expect(upstream?.filter((name) => charts.test(name))).toEqual([]);
  });

  test("has a summary, a severity and a runbook that exists and names it", () => {
    expect(alerts().length).toBeGreaterThan(0);
    for (const { alert, labels, annotations } of alerts()) {
      expect(annotations?.summary, alert).toMatch(/\w/);
      expect(labels?.severity, alert).toMatch(/^(critical|warning|none)$/);
      expect(annotations?.runbook_url, alert).toMatch(/^docs\/runbooks\/[\w-]+\.md$/);
      const page = join(checkout, annotations?.runbook_url ?? "");
      expect(existsSync(page), annotations?.runbook_url).toBe(true);
      expect(readFileSync(page, "utf8"), annotations?.runbook_url).toMatch(new RegExp(`\\b${alert}\\b`));
    }
  });
});
