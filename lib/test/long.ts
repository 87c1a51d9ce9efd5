/** Tests that could go on for as long as one lets them: how far they go before a commit, and how far in `npm run test:long`. */
import { Git } from "../git/git.ts";
import { checkout } from "../repository.ts";

/** True in `npm run test:long`. */
export const long = Boolean(process.env.LONG);

/** How many rounds, kills or steps a test goes through: few before a commit, all in `npm run test:long`. */
export const amount = (few: number, all: number): number => (long ? all : few);

const head = long ? undefined : await new Git(checkout).resolve("HEAD");
const turn = Number.parseInt(head?.slice(0, 8) ?? "0", 16);

/**
 * Members of a sweep that are tried before a commit: `few` of each kind, the same ones for as long as HEAD is the same
 * commit, and others with the next commit. All of them in `npm run test:long`.
 * @param kindOf tells kinds apart; without it all members are of one kind
 * @returns the chosen ones, in the order given
 */
export const drawn = <T>(
  members: readonly T[],
  few: number,
  kindOf: (member: T) => unknown = () => 0,
): T[] => (long ? [...members] : chosen(members, few, kindOf, turn));

/** What `drawn` chooses at a turn; of as many turns as there are members each has its own. */
export function chosen<T>(
  members: readonly T[],
  few: number,
  kindOf: (member: T) => unknown,
  turn: number,
): T[] {
  const kinds = new Map<unknown, T[]>();
  for (const member of members) {
    const kind = kindOf(member);
    kinds.set(kind, [...(kinds.get(kind) ?? []), member]);
  }
  const all = [...kinds.values()].flatMap((of) => {
    if (of.length <= few) return of;
    return Array.from(
      { length: few },
      (_, at) => of[(turn + Math.floor((at * of.length) / few)) % of.length],
    );
  });
  return members.filter((member) => all.includes(member));
}
