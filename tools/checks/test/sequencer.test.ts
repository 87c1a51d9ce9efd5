import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { TestSpecification, Vitest } from "vitest/node";
import { checkout } from "../../../lib/repository.ts";
import { LongestFirst, longest } from "../sequencer.ts";

test("what takes longest is there, and comes first", async () => {
  for (const file of longest) expect([file, existsSync(join(checkout, file))]).toEqual([file, true]);
  const names = ["a.test.ts", longest[1], "b.test.ts", longest[0]];
  const project = { name: "", config: { isolate: true, sequence: { groupOrder: 0 } } };
  const files = names.map((name) => ({
    moduleId: `/x/${name}`,
    project,
  })) as TestSpecification[];
  const cache = { getFileTestResults: () => undefined, getFileStats: () => undefined };
  const sequencer = new LongestFirst({ cache, config: { root: "/x" } } as unknown as Vitest);
  const sorted = (await sequencer.sort(files)).map(({ moduleId }) => moduleId.slice(3));
  expect(sorted.slice(0, 2)).toEqual(longest.slice(0, 2));
  expect(sorted.slice(2).sort()).toEqual(["a.test.ts", "b.test.ts"]);
});
