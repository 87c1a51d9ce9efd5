/** `npm run modules`: gives the Go modules of each group the same versions of what they require, and tidies them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  goEnvironment,
  type Module,
  moduleDirectory,
  modules,
  requirementsIn,
} from "../../../lib/modules.ts";
import { run } from "../../../lib/process.ts";
import { note, progress } from "../../../lib/progress.ts";
import { checkout } from "../../../lib/repository.ts";
import { reported } from "../../src/cli.ts";
import { versionsToSet } from "./equal-versions.ts";

const go = (module: Module, ...args: string[]): Promise<string> =>
  run("go", args, { cwd: moduleDirectory(checkout, module), env: goEnvironment(), quiet: true });

const requirements = (module: Module) =>
  requirementsIn(readFileSync(join(moduleDirectory(checkout, module), "go.mod"), "utf8"), module.apart);

process.exitCode = await reported(async () => {
  for (const group of new Set(modules.flatMap(({ group }) => group ?? []))) {
    const members = modules.filter((module) => module.group === group);
    // Tidying may raise something else. It ends, because no version is ever lowered.
    for (;;) {
      const changes = versionsToSet(new Map(members.map((module) => [module.name, requirements(module)])));
      if (changes.size === 0) break;
      for (const module of members) {
        const changed = [...(changes.get(module.name) ?? [])];
        if (changed.length === 0) continue;
        progress(`${module.name}: ${changed.length} versions`);
        await go(module, "mod", "edit", ...changed.map(([path, version]) => `-require=${path}@${version}`));
        await go(module, "mod", "tidy");
      }
    }
    note(`the ${members.length} modules of group ${group} require the same versions`);
  }
});
