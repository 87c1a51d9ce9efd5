import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test } from "vitest";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { sweep } from "../../lib/test/long.ts";
import { explain, listRules, report } from "../src/report.ts";
import { rules } from "../src/rules/index.ts";
import type { Validation } from "../src/validate.ts";

const validation: Validation = {
  findings: [
    {
      file: "gitops/a b.yaml",
      line: 3,
      column: 7,
      rule: "port-exists",
      message: "100% wrong: a, b",
      fix: "write\nc",
    },
  ],
  clusters: ["one"],
  overlays: [],
  applications: 1,
  objects: 2,
  skipped: ["Application x: no chart"],
};

describe("a report", () => {
  test("for people ends with what was looked at and the next command", () => {
    expect(report(validation, "people")).toBe(
      "gitops/a b.yaml:3:7: 100% wrong: a, b [port-exists]\n    fix: write\nc\nnot looked at: Application x: no chart\n" +
        "1 finding in 2 objects of 1 Application on one\nnext: npm run validate -- --explain port-exists\n",
    );
    expect(report({ ...validation, findings: [], skipped: [] }, "people")).toBe(
      "0 findings in 2 objects of 1 Application on one\n",
    );
    expect(report({ ...validation, findings: [], skipped: [], overlays: ["a", "b"] }, "people")).toBe(
      "0 findings in 2 objects of 1 Application on one, and in 2 overlays that no cluster has\n",
    );
  });

  test("for GitHub escapes what its commands take for syntax", () => {
    expect(report(validation, "github")).toBe(
      "::error file=gitops/a b.yaml,line=3,col=7,title=port-exists::100%25 wrong: a, b: write%0Ac\n",
    );
  });

  test("as JSON is the validation itself", () => {
    expect(JSON.parse(report(validation, "json"))).toEqual(validation);
  });

  test("as SARIF has every rule and points at the place", () => {
    const [run] = JSON.parse(report(validation, "sarif")).runs;
    expect(run.tool.driver.rules.map(({ id }: { id: string }) => id)).toEqual(rules.map(({ id }) => id));
    const [result] = run.results;
    expect(run.tool.driver.rules[result.ruleIndex].id).toBe("port-exists");
    expect(result.locations[0].physicalLocation).toEqual({
      artifactLocation: { uri: "gitops/a%20b.yaml", uriBaseId: "%SRCROOT%" },
      region: { startLine: 3, startColumn: 7 },
    });
  });
});

test("every rule explains itself", () => {
  for (const { id, summary } of rules) {
    expect(explain(id)).toContain(summary);
    expect(explain(id)?.length, id).toBeGreaterThan(120);
    expect(listRules()).toContain(id);
  }
  expect(explain("no-such-rule")).toBeUndefined();
});

describe("the command line", () => {
  const run = async (...args: string[]) =>
    execa("node", [await bundle(join(checkout, "tools/src/cli.ts")), ...args], {
      cwd: checkout,
      reject: false,
    });

  const commands: [number, string[]][] = [
    [0, ["--help"]],
    [0, ["validate", "--explain", "port-exists"]],
    [0, ["validate", "--explain"]],
    [2, ["validate", "--explain", "no-such-rule"]],
    [2, ["validate", "--format", "xml"]],
    [2, ["no-such-command"]],
    [2, ["render", "root", "--cluster", "nowhere"]],
    [2, ["release", "app", "--wait"]],
    [2, ["fault", "101"]],
    [2, ["wait", "HEAD", "--seconds", "soon"]],
    [1, ["wait", "no-such-commit"]],
    [1, ["release", "no-such-service"]],
    [3, ["validate", "/no/such/directory"]],
  ];
  sweep(
    commands,
    1,
    ([expected]) => expected,
  )("ends with %i for %j", async (expected, args) => {
    const { exitCode, stdout, stderr } = await run(...args);
    expect(exitCode, stderr).toBe(expected);
    expect((exitCode === 0 ? stdout : stderr).trim()).not.toBe("");
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});
