import { describe, expect, test } from "vitest";
import { parted, sweep } from "./long.ts";

const members = ["a1", "a2", "a3", "a4", "a5", "b1", "c1", "c2"];
const kind = (member: string): string | undefined => member[0];

test.each([1, 2, 3, 9])("of each kind %i come first, or all that there are, in their order", (few) => {
  const { first, others } = parted(members, few, kind);
  const counts = ["a", "b", "c"].map((wanted) => first.filter((member) => kind(member) === wanted).length);
  expect(counts).toEqual([Math.min(few, 5), 1, Math.min(few, 2)]);
  for (const some of [first, others]) expect(some).toEqual(members.filter((member) => some.includes(member)));
});

test("every member is in one of both, and each time in the same", () => {
  for (const few of [0, 1, 2, 5]) {
    const { first, others } = parted(members, few, kind);
    expect([...first, ...others].sort()).toEqual(members);
    expect(parted(members, few, kind)).toEqual({ first, others });
  }
});

test("what equals another by its text is a member of its own", () => {
  expect(parted([["x"], ["x"]], 1, () => 0)).toEqual({ first: [["x"]], others: [["x"]] });
});

describe("a sweep", () => {
  const swept = [
    ["one", 1],
    ["two", 2],
    ["three", 3],
  ] as const;
  // Which of them have the tag is looked at by tools/checks/test/slow.test.ts.
  sweep(swept, 1)("gives a test the parts of its member: %s", (name, size) => {
    expect(swept[size - 1]).toEqual([name, size]);
  });
});
