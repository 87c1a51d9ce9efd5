import { expect, test } from "vitest";
import { chosen } from "./long.ts";

const members = ["a1", "a2", "a3", "a4", "a5", "b1", "c1", "c2"];
const kind = (member: string): string | undefined => member[0];

test.each([1, 2, 3, 9])("of each kind %i are chosen, or all that there are, in their order", (few) => {
  for (let turn = 0; turn < 20; turn++) {
    const some = chosen(members, few, kind, turn);
    const counts = ["a", "b", "c"].map((wanted) => some.filter((member) => kind(member) === wanted).length);
    expect(counts).toEqual([Math.min(few, 5), 1, Math.min(few, 2)]);
    expect(some).toEqual(members.filter((member) => some.includes(member)));
  }
});

test("each member has its turn", () => {
  const seen = new Set<string>();
  for (let turn = 4_000_000_000; turn < 4_000_000_005; turn++)
    for (const member of chosen(members, 1, kind, turn)) seen.add(member);
  expect([...seen].sort()).toEqual(members);
});

test("what equals another by its text is a member of its own", () => {
  expect(chosen([["x"], ["x"]], 2, () => 0, 1)).toHaveLength(2);
});
