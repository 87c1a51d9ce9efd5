/** `npm test`: everything that needs no cluster, the long steps first, beside the short ones. */
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
const steps: Step[] = [
  { name: "root", command: ["npx", "vitest", "run"] },
  npm("lint", "lint"),
  npm("types", "types"),
  npm("validate", "validate"),
  ...services.map((name) => npm(name, "test", "--prefix", `services/${name}`)),
];

const outcomes = await runSteps(steps, 2, checkout, ({ name, command, output }) => {
  process.stdout.write(`--- ${name}: ${command.join(" ")}\n${output}\n`);
});
process.stdout.write(table(outcomes));
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;
