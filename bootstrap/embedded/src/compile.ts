/** A process that compiles: without an argument everything that is not in the cache, else the one module that it names. */
import { writeFileSync } from "node:fs";
import { goEnvironment, modules } from "../../../lib/modules.ts";
import { log } from "../../../lib/process.ts";
import { note } from "../../../lib/progress.ts";
import { removeUnpackedArchives } from "./build-cache.ts";
import { createCgroup, entrances } from "./cgroups.ts";
import { buildModule, ensureBuilt } from "./modules.ts";

// A build leaves with the platform: it runs in the platform's cgroup.
createCgroup("build");
for (const file of entrances("build")) writeFileSync(file, String(process.pid));

const [, , name] = process.argv;
try {
  // Whoever names one holds the build lock.
  if (name === undefined) {
    await ensureBuilt(modules.map((module) => module.name));
    const { GOMODCACHE } = goEnvironment();
    if (GOMODCACHE) removeUnpackedArchives(GOMODCACHE);
  } else await buildModule(name);
} catch (error) {
  log(error instanceof Error ? (error.stack ?? error.message) : String(error));
  note(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
