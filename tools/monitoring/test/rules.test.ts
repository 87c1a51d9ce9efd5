import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { dump, load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderObjects } from "../../../lib/render/kustomize.ts";
import { checkout } from "../../../lib/repository.ts";
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
const rendered = ["overlays/embedded", "overlays/upstream", "stack/embedded"];
let promtool: string;
let rules: Rule[];

beforeAll(async () => {
  promtool = await findPromtool(directory);
  const groups = new Map<string, { name: string; rules: Rule[] }>();
  for (const path of rendered) {
    const objects = await renderObjects(join(checkout, "gitops/platform/monitoring", path));
    for (const { kind, spec } of objects)
      if (kind === "PrometheusRule") for (const group of spec.groups) groups.set(group.name, group);
  }
  rules = [...groups.values()].flatMap((group) => group.rules);
  writeFileSync(join(directory, "rules.yaml"), dump({ groups: [...groups.values()] }));
  for (const file of readdirSync(cases)) copyFileSync(join(cases, file), join(directory, file));
}, coldStart);

afterAll(() => rmSync(directory, { recursive: true }));

const run = (...args: string[]): Promise<{ exitCode?: number; all: string }> =>
  execa(promtool, args, { cwd: directory, reject: false, all: true });

test("promtool check rules finds nothing", async () => {
  const { exitCode, all } = await run("check", "rules", "--lint=all", "--lint-fatal", "rules.yaml");
  expect(all).toContain("SUCCESS");
  expect(exitCode, all).toBe(0);
});

test.each(readdirSync(cases))("promtool test rules %s", async (file) => {
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

  test("has a summary, a severity and a runbook that exists", () => {
    expect(alerts().length).toBeGreaterThan(0);
    for (const { alert, labels, annotations } of alerts()) {
      expect(annotations?.summary, alert).toMatch(/\w/);
      expect(labels?.severity, alert).toMatch(/^(critical|warning|none)$/);
      expect(annotations?.runbook_url, alert).toMatch(/^docs\/runbooks\/[\w-]+\.md$/);
      expect(existsSync(join(checkout, annotations?.runbook_url ?? "")), annotations?.runbook_url).toBe(true);
    }
  });
});
