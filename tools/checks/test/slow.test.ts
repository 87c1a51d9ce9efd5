/** The slow tests that `npm test` and `npm run e2e` leave out run in `npm run test:slow` and `npm run e2e:slow`. CI runs all. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { globSync } from "tinyglobby";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkout } from "../../../lib/repository.ts";
import { choice, slowFiles } from "../slow.ts";

// Written so that vitest does not take this file for a slow one: it looks for the words in all of the text.
const tag = `// @module-tag ${"slow"}\n`;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slow-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const write = (name: string, text: string): void => {
  mkdirSync(join(directory, name, ".."), { recursive: true });
  writeFileSync(join(directory, name), text);
};

test("files are told by what they say of themselves and by what they import", () => {
  write("a.test.ts", tag);
  write("a2.test.ts", `const of = 1;\n/**\n * ${tag.slice(3)} */\n`);
  write("b/b.test.ts", 'import { amount, sweep } from "../lib/test/long.ts";\n');
  write("b/c.test.ts", 'import { slow } from "./long.ts";\n');
  write("d.test.ts", 'import { amount, long } from "../lib/test/long.ts";\nconst slow = 1;\n');
  write("e.long.test.ts", tag);
  write("node_modules/f.test.ts", tag);
  expect(slowFiles(directory)).toEqual({
    whole: ["a.test.ts", "a2.test.ts"],
    part: ["b/b.test.ts", "b/c.test.ts"],
  });
  expect(choice(directory, "slow")).toEqual([
    "--tagsFilter",
    "slow",
    "a.test.ts",
    "a2.test.ts",
    "b/b.test.ts",
    "b/c.test.ts",
  ]);
  expect(choice(directory, "others")).toEqual([
    "--tagsFilter",
    "!slow",
    "--exclude",
    "a.test.ts",
    "--exclude",
    "a2.test.ts",
  ]);
});

test("where no test is slow there is no filter, which needs a tag that the configuration knows", () => {
  write("d.test.ts", "");
  expect([choice(directory, "slow"), choice(directory, "others")]).toEqual([undefined, []]);
});

test("a test gets the tag in one way only, which finds its file", () => {
  const ignore = ["**/node_modules/**", "tools/checks/test/slow.test.ts"];
  const files = globSync("{bootstrap,lib,tools,services}/**/*.test.ts", { cwd: checkout, ignore });
  expect(files.length).toBeGreaterThan(100);
  const others = files.filter((file) => /\btags: ?\["\[]/.test(readFileSync(join(checkout, file), "utf8")));
  expect(others).toEqual([]);
});

test("each member of a sweep is a test of npm test, or of npm run test:slow", async () => {
  const list = async (...filter: string[]): Promise<string[]> => {
    const args = [
      join(checkout, "node_modules/vitest/vitest.mjs"),
      "list",
      ...filter,
      "lib/test/long.test.ts",
    ];
    const { stdout } = await execa(process.execPath, args, { cwd: checkout, env: { NO_COLOR: "1" } });
    return stdout.split("\n").filter((line) => line.includes("a sweep"));
  };
  const [all, slow, others] = await Promise.all([
    list(),
    list("--tagsFilter", "slow"),
    list("--tagsFilter", "!slow"),
  ]);
  expect(all).toHaveLength(3);
  expect(others).toEqual([expect.stringMatching(/: one$/)]);
  expect([...others, ...slow].sort()).toEqual(all.toSorted());
});

test.each([".ci/run", ".github/workflows/ci.yaml"])("%s runs all of them", (file) => {
  const text = readFileSync(join(checkout, file), "utf8");
  const times = (command: string): number =>
    [...text.matchAll(new RegExp(` ${command}(?=$|;| &&)`, "gm"))].length;
  for (const command of ["npm cit", "npm run test:slow", "npm run e2e:slow"])
    expect(times(command), command).toBe(1);
  // In .ci/run it stands twice: where slow ones have failed, the platform stays.
  expect(times("npm run e2e")).toBeGreaterThan(0);
});
