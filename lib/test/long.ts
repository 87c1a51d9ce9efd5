/** Tests that could go on for as long as one lets them: how far they go before a commit, and how far after it. */
import { test } from "vitest";

/** True in `npm run test:long`. */
export const long = Boolean(process.env.LONG);

/** How many rounds, kills or steps a test goes through: few by default, all in `npm run test:long`. */
export const amount = (few: number, all: number): number => (long ? all : few);

/** The tag of tests that `npm test` leaves to `npm run test:slow`. */
export const slow = { tags: "slow" } as const;

type Arguments<T> = T extends readonly unknown[] ? [...T] : [T];

/**
 * A test for each member of a sweep: before a commit for `few` of each kind, always the same ones, and for the others
 * where slow tests run. Use it as `sweep(members, 2)("finds %s", (member) => ...)`.
 * @param kindOf tells kinds apart; without it all members are of one kind
 */
export const sweep =
  <const T>(members: readonly T[], few: number, kindOf: (member: T) => unknown = () => 0) =>
  (name: string, run: (...member: Arguments<T>) => unknown, timeout?: number): void => {
    const { first, others } = parted(members, few, kindOf);
    const each = run as (...member: unknown[]) => Promise<void>;
    const limit = timeout === undefined ? {} : { timeout };
    test.each([...first])(name, limit, each);
    test.each([...others])(name, { ...limit, ...slow }, each);
  };

/**
 * The members of a sweep that are tried before a commit, and the others, each in the order given.
 * @returns of the first `few` of each kind, spread over all of that kind, or as many as there are
 */
export function parted<T>(
  members: readonly T[],
  few: number,
  kindOf: (member: T) => unknown,
): { first: T[]; others: T[] } {
  const kinds = new Map<unknown, number[]>();
  for (const [at, member] of members.entries()) {
    const kind = kindOf(member);
    kinds.set(kind, [...(kinds.get(kind) ?? []), at]);
  }
  const chosen = new Set(
    [...kinds.values()].flatMap((of) =>
      of.length <= few ? of : Array.from({ length: few }, (_, at) => of[Math.floor((at * of.length) / few)]),
    ),
  );
  return {
    first: members.filter((_, at) => chosen.has(at)),
    others: members.filter((_, at) => !chosen.has(at)),
  };
}
