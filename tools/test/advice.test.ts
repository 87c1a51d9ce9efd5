/**
 * The inventory of all advice: what stands behind a `next:` is done by the tests that advice.yaml names, or it is prose, and
 * then it says why no command does it. New words fail here until a test has tried them in the state in which they are said.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execaSync } from "execa";
import { load } from "js-yaml";
import { describe, expect, it } from "vitest";
import { checkout } from "../../lib/repository.ts";
import { adviceFiles, adviceIn, testsIn } from "./advice.ts";

interface Entry {
  says: string;
  tried?: Record<string, string>[];
  prose?: string;
}

const entries = load(readFileSync(join(checkout, "tools/test/advice.yaml"), "utf8")) as Entry[];
const advice = adviceFiles().flatMap((file) => adviceIn(file));
const tests = new Map<string, Map<string, string>>();
const sourceOf = (file: string, title: string): string => {
  if (!tests.has(file)) tests.set(file, testsIn(file));
  return tests.get(file)?.get(title) ?? "";
};

it("every piece of advice is in the inventory, and nothing else is", () => {
  const listed = entries.map(({ says }) => says);
  const places = advice.filter(({ text }) => !listed.includes(text));
  expect(places.map(({ file, line, text }) => `${file}:${line}: ${text}`)).toEqual([]);
  expect(listed.filter((says) => !advice.some(({ text }) => text === says))).toEqual([]);
  expect(listed.filter((says, index) => listed.indexOf(says) !== index)).toEqual([]);
});

it.each(
  entries.flatMap(({ says, tried = [] }) =>
    tried.flatMap((test) => Object.entries(test).map(([file, title]) => [says, file, title] as const)),
  ),
)("%s is done by %s: %s", (_, file, title) => {
  // In the tests of bootstrap/existing each run does what was said.
  expect(sourceOf(file, title)).toMatch(
    /\b(follow|followed|followedIn|next|look|stubs\.run|gitops|execa|findBuilder|release|setFault|operator)\(/,
  );
});

describe("prose", () => {
  const words = entries
    .filter(({ prose }) => prose && !/^(no advice|hands on)/.test(prose))
    .map(({ says }) => says.replace(/^[`'"]/, ""));

  it.each(words.filter((says) => !/^(kubectl|apt-get) /.test(says)))(
    "does not begin with the name of a program: %s",
    (says) => {
      // Whoever pastes it would start that: `install A B` copies a file over another.
      const [word = ""] = says.split(" ");
      expect(execaSync("sh", ["-c", 'command -v -- "$0"', word], { reject: false }).stdout).not.toMatch(
        /^\//,
      );
    },
  );
});

it.each([
  ['throw new Failure("x", "ls services");', ['"ls services"']],
  ["await until(`x`, 3, probe, hint(a, b));", ["hint(a, b)"]],
  ["const next = good ? `a` : undefined;", ["`a`"]],
  ['check({ finding, remedy: other ?? "b" });', ['"b"']],
  ['note("x\\nnext: y");', ['"x\\nnext: y"']],
  ["throw new Failure(said, next);", []],
])("advice is found in %s", (text, found) => {
  expect(adviceIn("x.ts", text).map((one) => one.text)).toEqual(found);
});
