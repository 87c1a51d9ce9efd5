import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type Alert,
  inOrder,
  lineOf,
  linesFor,
  matchersOf,
  runbookOf,
  silenceOf,
} from "../images/dashboards/page/src/silence.ts";
import { endpoints, repository } from "../src/layout.ts";

const alert = (labels: Record<string, string>, annotations: Record<string, string> = {}): Alert => ({
  fingerprint: JSON.stringify(labels),
  labels,
  annotations,
  startsAt: "2026-01-01T00:00:00Z",
  status: { state: "active", silencedBy: [], inhibitedBy: [] },
});

describe("a matcher", () => {
  it.each([
    ['alertname="Watchdog"', { name: "alertname", value: "Watchdog", isRegex: false, isEqual: true }],
    ["pod != app-1", { name: "pod", value: "app-1", isRegex: false, isEqual: false }],
    ['pod=~"app-.*"', { name: "pod", value: "app-.*", isRegex: true, isEqual: true }],
    ["pod!~app-.*", { name: "pod", value: "app-.*", isRegex: true, isEqual: false }],
    // An operator inside the value is part of the value.
    ["path=a=~b", { name: "path", value: "a=~b", isRegex: false, isEqual: true }],
    ['empty=""', { name: "empty", value: "", isRegex: false, isEqual: true }],
  ])("is read from %s", (line, matcher) => {
    expect(matchersOf(`known="yes"\n${line}`)[1]).toEqual(matcher);
  });

  it.each(["", "a b", "1x=y", "x", '=~"y"', 'x="y', 'x="y" z'])("is not read from %j", (line) => {
    expect(() => matchersOf(line === "" ? "\n" : `known="yes"\n${line}`)).toThrow(/\.$|: /);
  });

  it.each(['x="a\\nb"', 'x=~"a\\"b|\\\\d"', 'x!="ü"', 'x!~"="'])("is written as it was read: %s", (line) => {
    expect(matchersOf(`known="yes"\n${line}`).map(lineOf)).toEqual(['known="yes"', line]);
  });

  it.each(['x=""', "x=~.*", 'x!="y"', "x!~y"])("that a missing label matches is not enough: %s", (line) => {
    expect(() => matchersOf(line)).toThrow(/ask for a value/);
    expect(matchersOf(`${line}\ny=z`)).toHaveLength(2);
  });
});

describe("an alert", () => {
  it("is silenced by all its labels, whatever they hold, its name first", () => {
    const labels = { zone: 'a"b\n=~', alertname: "Some", pod: "app" };
    const lines = linesFor(alert(labels));
    expect(lines.split("\n")[0]).toBe('alertname="Some"');
    expect(Object.fromEntries(matchersOf(lines).map(({ name, value }) => [name, value]))).toEqual(labels);
  });

  it("comes before what is less severe", () => {
    const names = [["Z", "critical"], ["A", "none"], ["B", "warning"], ["A", "warning"], ["N"]];
    const found = inOrder(
      names.map(([alertname = "", severity]) => alert({ alertname, ...(severity && { severity }) })),
    );
    expect(found.map(({ labels }) => labels.alertname)).toEqual(["Z", "A", "B", "A", "N"]);
  });

  it("says what to do by an address or by a file, and runs nothing", () => {
    const of = (runbook_url: string) => runbookOf(alert({}, { runbook_url }));
    expect(runbookOf(alert({}))).toBeUndefined();
    expect(of("https://example.com/x")).toEqual({
      text: "https://example.com/x",
      href: "https://example.com/x",
    });
    expect(of("docs/runbooks/pod.md")).toEqual({ text: "docs/runbooks/pod.md" });
    expect(of("javascript:alert(1)")).toEqual({ text: "javascript:alert(1)" });
  });
});

it("a silence holds from now for as many hours as were chosen", () => {
  const form = { matchers: "alertname=A", hours: 4, by: "me", why: "because" };
  expect(silenceOf(form, new Date("2026-01-01T22:00:00Z"))).toEqual({
    matchers: [{ name: "alertname", value: "A", isRegex: false, isEqual: true }],
    startsAt: "2026-01-01T22:00:00.000Z",
    endsAt: "2026-01-02T02:00:00.000Z",
    createdBy: "me",
    comment: "because",
  });
});

it("the front page leads to everything that is looked at in a browser, by its port", () => {
  const file = join(repository, "bootstrap/embedded/images/dashboards/page/src/pages.json");
  const pages = JSON.parse(readFileSync(file, "utf8")) as { endpoint?: string; port?: number }[];
  const ports = new Map(endpoints(80).map(({ name, port }) => [name, port]));
  const elsewhere = pages.filter(({ endpoint }) => endpoint !== undefined);
  const nothingToSee = ["app", "git", "dashboards"];
  expect(elsewhere.map(({ endpoint }) => endpoint).sort()).toEqual(
    [...ports.keys()].filter((name) => !nothingToSee.includes(name)).sort(),
  );
  for (const { endpoint = "", port } of elsewhere) expect(port, endpoint).toBe(ports.get(endpoint));
});
