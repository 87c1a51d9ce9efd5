/** `npm test`: everything that needs no cluster, the long steps first, beside the short ones. */
import { checkout } from "../../lib/repository.ts";
import { runSteps, type Step, table } from "./steps.ts";

const npm = (name: string, ...args: string[]): Step => ({
  name,
  command: ["npm", "run", "--silent", ...args],
});
const steps: Step[] = [
  { name: "root", command: ["npx", "vitest", "run"] },
  npm("lint", "lint"),
  npm("types", "types"),
  npm("validate", "validate"),
  npm("log-archiver", "test", "--prefix", "services/log-archiver"),
  npm("app", "test", "--prefix", "services/app"),
  npm("log-agent", "test", "--prefix", "services/log-agent"),
];

const outcomes = await runSteps(steps, 2, checkout, ({ name, command, output }) => {
  process.stdout.write(`--- ${name}: ${command.join(" ")}\n${output}\n`);
});
process.stdout.write(table(outcomes));
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;
