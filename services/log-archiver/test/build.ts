/** Compiles the sources once for all tests: a run then starts in a third of the time that it takes through tsx. */
import { join, resolve } from "node:path";
import { execa } from "execa";

const service = resolve(import.meta.dirname, "..");

/** Where the compiled sources are; below node_modules, so that they find the packages. */
export const compiled = join(service, "node_modules/.cache/log-archiver");

export default async function build(): Promise<void> {
  await execa("npx", ["tsc", "--project", "tsconfig.build.json", "--outDir", compiled], { cwd: service });
}
