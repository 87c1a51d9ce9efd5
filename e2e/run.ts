/**
 * `npm run e2e [FILE...]` goes through the promises but for what has the tag `slow`, or through all of the files that are
 * named; `npm run e2e:slow [FILE...]` goes through what has the tag. Further arguments are vitest's.
 */
import { execa } from "execa";
import { repository } from "./platform.ts";
import { choice } from "./selection.ts";

const [first, ...others] = process.argv.slice(2);
const chosen = first === "--slow" ? choice(others, true) : choice(process.argv.slice(2), false);
const { exitCode } = await execa("npx", ["vitest", "run", "--config", "e2e/vitest.config.ts", ...chosen], {
  cwd: repository,
  reject: false,
  stdio: "inherit",
});
process.exitCode = exitCode ?? 1;
