/** Tests that could go on for as long as one lets them: how far they go before a commit, and how far in `npm run test:long`. */

/** True in `npm run test:long`. */
export const long = Boolean(process.env.LONG);

/** How many rounds, kills or steps a test goes through: few before a commit, all in `npm run test:long`. */
export const amount = (few: number, all: number): number => (long ? all : few);
