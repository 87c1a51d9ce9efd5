/**
 * `npm run e2e:repeat -- 5 [--slow] [--load] [FILE...]`: the promises so many times in a row on one platform, and how often
 * each failed. All but the end of the platform is repeated; `--slow` repeats what `npm run e2e:slow` runs, `--load` takes
 * half of the CPUs for other work meanwhile.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { execa } from "execa";
import { type Report, summary } from "./flakiness.ts";
import { repository } from "./platform.ts";
import { choice, isWanted } from "./selection.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { load: { type: "boolean", default: false }, slow: { type: "boolean", default: false } },
});
const [count = "", ...files] = positionals;
const rounds = Number(count);
if (!Number.isInteger(rounds) || rounds < 1) {
  console.error("how often? npm run e2e:repeat -- 5 [--slow] [--load] [FILE...]");
  process.exit(2);
}

// Ends by itself where this process was killed.
const work = `const parent = process.ppid;
for (;;) {
  const end = Date.now() + 500;
  while (Date.now() < end);
  if (process.ppid !== parent) process.exit();
}`;
/** Takes half of the CPUs, until it is killed. */
const burn = (): ChildProcess[] =>
  Array.from({ length: Math.max(1, Math.floor(availableParallelism() / 2)) }, () =>
    spawn(process.execPath, ["--eval", work], { stdio: "ignore" }),
  );

const directory = mkdtempSync(join(tmpdir(), "logging-platform-repeat-"));
const reports: Report[] = [];
const burning = values.load ? burn() : [];
process.once("exit", () => {
  for (const child of burning) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

for (let round = 1; round <= rounds; round++) {
  const output = join(directory, `${round}.json`);
  console.log(`--- ${round} of ${rounds}${values.load ? ", half of the CPUs taken" : ""}`);
  // What a failed round leaves stays; the next one tells whether the platform got over it.
  const evidence = join(directory, `evidence-${round}`);
  await execa("npx", ["vitest", "run", "--config", "e2e/vitest.config.ts", ...choice(files, values.slow)], {
    cwd: repository,
    reject: false,
    stdio: "inherit",
    env: { E2E_EVIDENCE: evidence, E2E_REPORT: output, E2E_STAYS: "1" },
  });
  const nothing: Report = { startTime: Date.now(), success: false, testResults: [] };
  reports.push(existsSync(output) ? (JSON.parse(readFileSync(output, "utf8")) as Report) : nothing);
}
for (const child of burning) child.kill("SIGKILL");
const { text, failed } = summary(reports, isWanted(files, values.slow));
console.log(`${text}reports and evidence: ${directory}`);
process.exitCode = failed ? 1 : 0;
