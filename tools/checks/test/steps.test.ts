import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Outcome, runSteps, table } from "../steps.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "steps-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const sh = (name: string, script: string) => ({ name, command: ["sh", "-c", script] });

test("a step that fails stops no other, and is said with what it printed and how it is run alone", async () => {
  const told: string[] = [];
  const steps = [
    sh("bad", "echo broken >&2; exit 3"),
    sh("good", "echo fine"),
    { name: "none", command: ["no-such"] },
  ];
  const outcomes = await runSteps(steps, 2, directory, ({ name }) => told.push(name));
  expect(outcomes.map(({ name, passed }) => [name, passed])).toEqual([
    ["bad", false],
    ["good", true],
    ["none", false],
  ]);
  expect(told.toSorted()).toEqual(["bad", "good", "none"]);
  expect(outcomes[0]?.output).toBe("broken");
  expect(outcomes[1]?.output).toBe("fine");
  expect(outcomes[2]?.output).toContain("no-such");
});

test("so many run at once, and no more", async () => {
  // Each of the two steps waits for the other.
  const meet = (own: string, other: string) =>
    sh(
      own,
      `touch ${own}; i=0; while [ ! -e ${other} ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done; [ -e ${other} ]`,
    );
  const both = await runSteps([meet("a", "b"), meet("b", "a")], 2, directory, () => {});
  expect(both.map(({ passed }) => passed)).toEqual([true, true]);
  const alone = await runSteps(
    [sh("c", "[ ! -e d ]; touch c"), sh("d", "[ -e c ] && touch d")],
    1,
    directory,
    () => {},
  );
  expect(alone.map(({ passed }) => passed)).toEqual([true, true]);
  expect(existsSync(join(directory, "d"))).toBe(true);
});

test("the table has a line for each step", () => {
  const outcome = (name: string, passed: boolean): Outcome => ({
    name,
    command: ["npm", "test"],
    seconds: 7,
    passed,
    output: "",
  });
  expect(table([outcome("lint", true), outcome("root", false)])).toBe(
    "lint               7 s  passed\nroot               7 s  FAILED: npm test\n",
  );
});
