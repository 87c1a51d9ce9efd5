/** `npm test`: everything that needs no cluster. What renders this repository first, as the tests start from that. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { checkout } from "../../lib/repository.ts";
import { runSteps, type Step, table } from "./steps.ts";

const npm = (name: string, ...args: string[]): Step => ({
  name,
  command: ["npm", "run", "--silent", ...args],
});
const services = readdirSync(join(checkout, "services")).filter((name) =>
  existsSync(join(checkout, "services", name, "package.json")),
);
// By how many files of tests there are: the longest first.
const testsOf = (name: string): number => {
  const directory = join(checkout, "services", name, "test");
  return existsSync(directory) ? readdirSync(directory).length : 0;
};
services.sort((a, b) => testsOf(b) - testsOf(a));
const steps: Step[] = [
  npm("validate", "validate"),
  npm("lint", "lint"),
  npm("types", "types"),
  { name: "root", command: ["npx", "vitest", "run"] },
  ...services.map((name) => npm(name, "test", "--prefix", `services/${name}`)),
];

const outcomes = await runSteps(steps, 2, checkout, ({ name, command, output }) => {
  process.stdout.write(`--- ${name}: ${command.join(" ")}\n${output}\n`);
});
process.stdout.write(table(outcomes));
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;
