/** A process that compiles: the module that its argument names, or, without an argument, all that are not in the cache. */
import { writeFileSync } from "node:fs";
import { goEnvironment, modules } from "../../../lib/modules.ts";
import { log } from "../../../lib/process.ts";
import { note } from "../../../lib/progress.ts";
import { removeUnpackedArchives } from "./build-cache.ts";
import { createCgroup, entrances } from "./cgroups.ts";
import { buildModule, ensureBuilt } from "./modules.ts";

// The build runs in the platform's cgroup, so that it ends when the platform is destroyed.
createCgroup("build");
for (const file of entrances("build")) writeFileSync(file, String(process.pid));

const [, , name] = process.argv;
try {
  // A caller that names a module holds the build lock.
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
