/** promtool of the pinned Prometheus: the bootstrap's binary where it is built, or compiled here by the same flags. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { binaries, isBuilt } from "../../../bootstrap/embedded/src/modules.ts";
import { goEnvironment, moduleNamed } from "../../../lib/modules.ts";
import { checkout } from "../../../lib/repository.ts";

/**
 * Returns promtool's path.
 * @param directory where to put it if it has to be compiled
 */
export async function findPromtool(directory: string): Promise<string> {
  if (isBuilt("prometheus")) return join(binaries("prometheus"), "promtool");
  const promtool = join(directory, "promtool");
  const { tags = [], path } = moduleNamed("prometheus");
  const flags = ["-trimpath", "-tags", tags.join(","), "-ldflags", "-s -w"];
  await execa("go", ["build", ...flags, "-o", promtool, `${path}/cmd/promtool`], {
    cwd: join(checkout, "bootstrap/embedded/modules/prometheus"),
    env: goEnvironment(),
  });
  if (!existsSync(promtool)) throw new Error("go build left no promtool");
  return promtool;
}
