/** What the platform does by itself from time to time: upkeep-program.ts says how this is started, bundled into one file. */

// Before all that reads certificates: a bundle keeps this order.
import "reflect-metadata";
import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { note } from "../../../lib/progress.ts";
import { state } from "./layout.ts";
import { collectMirror } from "./mirror-garbage.ts";
import { renewCertificates, renewRepoServerTls } from "./renewal.ts";

interface Task {
  name: string;
  /** Hours that pass before it is done again; 0 means each time. */
  hours: number;
  /** What it says was done, a line each. */
  run: () => Promise<string[]>;
}

const tasks: Task[] = [
  { name: "renewed certificate", hours: 0, run: renewCertificates },
  { name: "restarted with a new certificate", hours: 12, run: renewRepoServerTls },
  { name: "removed from the mirror", hours: 24, run: collectMirror },
];

const stamp = (index: number): string => state("upkeep", `done-${index}`);

/** True where a task was not done well for so many hours. */
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
    // The others are done all the same, and this one the next time.
    note(`${new Date().toISOString()} ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
