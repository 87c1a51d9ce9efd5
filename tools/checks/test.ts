/**
 * `npm test` runs everything that needs no cluster, except the slow tests; `npm run test:slow` runs those, and
 * `npm run test:long` runs all. The step that renders this repository comes first, because the tests use its results.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { checkout } from "../../lib/repository.ts";
import { choice } from "./slow.ts";
import { runSteps, type Step, table } from "./steps.ts";

const npm = (name: string, ...args: string[]): Step => ({
  name,
  command: ["npm", "run", "--silent", ...args],
});
const slow = process.argv[2] === "slow";
/** The step with the tests of this run below a directory; no step if there are none. */
const tests = (name: string, directory: string, command: string[]): Step[] => {
  const chosen = process.env.LONG ? [] : choice(join(checkout, directory), slow ? "slow" : "others");
  return chosen ? [{ name, command: [...command, ...chosen] }] : [];
};

const services = readdirSync(join(checkout, "services")).filter((name) =>
  existsSync(join(checkout, "services", name, "package.json")),
);
// Services with the most test files come first, because they take longest.
const testsOf = (name: string): number => {
  const directory = join(checkout, "services", name, "test");
  return existsSync(directory) ? readdirSync(directory).length : 0;
};
services.sort((a, b) => testsOf(b) - testsOf(a));
const steps: Step[] = [
  npm("validate", "validate"),
  ...(slow ? [] : [npm("lint", "lint"), npm("types", "types")]),
  ...tests("root", ".", ["npx", "vitest", "run"]),
  ...services.flatMap((name) => {
    const place = `services/${name}`;
    return tests(name, place, ["npm", "run", "--silent", "test", "--prefix", place, "--"]);
  }),
];

const outcomes = await runSteps(steps, 2, checkout, ({ name, command, output }) => {
  process.stdout.write(`--- ${name}: ${command.join(" ")}\n${output}\n`);
});
process.stdout.write(table(outcomes));
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;
