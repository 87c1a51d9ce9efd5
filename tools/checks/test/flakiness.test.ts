import { expect, test } from "vitest";
import { type Report, summary } from "../../../e2e/flakiness.ts";
import { choice, isWanted } from "../../../e2e/selection.ts";

const run = (...tests: [string, string][]): Report => ({
  startTime: 1_000,
  success: tests.every(([, status]) => status === "passed"),
  testResults: [
    {
      name: "a.test.ts",
      status: tests.every(([, status]) => status === "passed") ? "passed" : "failed",
      endTime: 61_000,
      assertionResults: tests.map(([fullName, status]) => ({ fullName, status })),
    },
  ],
});

test("runs in which all passed are counted", () => {
  const good = run(["one", "passed"], ["two", "passed"]);
  expect(summary([good, good])).toEqual({
    text: "run 1: 2 passed, 0 failed, 0 left out, 60 s\nrun 2: 2 passed, 0 failed, 0 left out, 60 s\n0 failures in 2 runs\n",
    failed: false,
  });
});

test("a test that failed in some runs is named with them, and one that was left out too", () => {
  const reports = [run(["one", "failed"], ["two", "passed"]), run(["one", "passed"], ["two", "skipped"])];
  const { text, failed } = summary([...reports, run(["one", "failed"], ["two", "passed"])]);
  expect(failed).toBe(true);
  expect(text.split("\n").slice(3)).toEqual([
    "did not pass in 1, 3 of 3: one",
    "did not pass in 2 of 3: two",
    "",
  ]);
});

test.each<[string, Report]>([
  ["whose hook failed", { ...run(["one", "passed"]), success: false }],
  ["that has no test", run()],
])("a run %s is no good one, though no test failed", (_, report) => {
  expect(summary([report])).toMatchObject({
    failed: true,
    text: expect.stringContaining("did not pass in 1 of 1"),
  });
});

test("tests that the runs are not about are not counted", () => {
  const report = run(["one", "passed"], ["two", "skipped"]);
  for (const test of report.testResults[0]?.assertionResults ?? [])
    if (test.fullName === "two") test.tags = ["slow"];
  const good = {
    ...report,
    success: true,
    testResults: report.testResults.map((file) => ({ ...file, status: "passed" })),
  };
  expect(summary([good], isWanted([], false))).toEqual({
    text: "run 1: 1 passed, 0 failed, 0 left out, 60 s\n0 failures in 1 runs\n",
    failed: false,
  });
  expect(summary([good], isWanted([], true)).text).toContain("did not pass in 1 of 1: two");
  expect(summary([good], isWanted(["mesh"], false)).failed).toBe(true);
});

test("files that are named are run whole, all others without what is slow", () => {
  expect(choice([], false)).toEqual(["--tagsFilter", "!slow"]);
  expect(choice(["--bail", "1"], false)).toEqual(["--tagsFilter", "!slow", "--bail", "1"]);
  expect(choice(["e2e/mesh.test.ts"], false)).toEqual(["e2e/mesh.test.ts"]);
  expect(choice(["mesh"], true)).toEqual(["--tagsFilter", "slow", "mesh"]);
});
