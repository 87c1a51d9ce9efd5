/** The platform's regular upkeep. upkeep-program.ts bundles this into one file and says how it is started. */

// This must be loaded before the code that reads certificates. A bundle keeps this order.
import "reflect-metadata";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { note } from "../../../lib/progress.ts";
import { state } from "./layout.ts";
import { collectMirror } from "./mirror-garbage.ts";
import { renewCertificates, renewRepoServerTls } from "./renewal.ts";

interface Task {
  name: string;
  /** Hours until the task is due again; 0 means every time. */
  hours: number;
  /** Does the task and returns what was done, one line for each thing. */
  run: () => Promise<string[]>;
}

const tasks: Task[] = [
  { name: "renewed certificate", hours: 0, run: renewCertificates },
  { name: "restarted with a new certificate", hours: 12, run: renewRepoServerTls },
  { name: "removed from the mirror", hours: 24, run: collectMirror },
];

const stamp = (index: number): string => state("upkeep", `done-${index}`);

/** True if a task has not succeeded within the given hours. */
function isDue(index: number, hours: number): boolean {
  if (!existsSync(stamp(index))) return true;
  return Date.now() - statSync(stamp(index)).mtimeMs >= hours * 3_600_000;
}

mkdirSync(state("upkeep"), { recursive: true });
for (const [index, { name, hours, run }] of tasks.entries()) {
  if (!isDue(index, hours)) continue;
  try {
    for (const what of await run()) note(`${new Date().toISOString()} ${name}: ${what}`);
    writeFileSync(stamp(index), "");
  } catch (error) {
    // The other tasks still run, and this one is tried again the next time.
    note(`${new Date().toISOString()} ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
