/** Programs that render: an installed one, or one that is compiled from a pinned Go module. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { Failure } from "../failure.ts";
import { goEnvironment, moduleDirectory, type PinnedModule } from "../modules.ts";
import { cacheDirectory, checkout } from "../repository.ts";

const compiled = new Map<string, Promise<string>>();

/**
 * Compiles the tool of a pinned module, once, and returns its path.
 * @throws Failure if Go is missing or cannot compile it
 */
export function compiledTool(module: PinnedModule): Promise<string> {
  const known = compiled.get(module.name) ?? compile(module);
  compiled.set(module.name, known);
  return known;
}

async function compile(module: PinnedModule): Promise<string> {
  const directory = moduleDirectory(checkout, module);
  const key = createHash("sha256")
    .update(readFileSync(join(directory, "go.sum")))
    .digest("hex")
    .slice(0, 16);
  const remembered = join(cacheDirectory, `${module.name}-${key}`);
  if (existsSync(remembered)) {
    const path = readFileSync(remembered, "utf8");
    if (existsSync(path)) return path;
  }
  // Go compiles the tool on first use and keeps it in its cache.
  const env = goEnvironment();
  const named = await execa("go", ["-C", directory, "tool", "-n", module.name], { env, reject: false });
  if (named.exitCode !== 0)
    throw new Failure(
      `${module.name} is not installed, and Go cannot compile it: ${(named.stderr || named.message || "").trim().slice(0, 200)}`,
      `put ${module.name} on the PATH, or install Go`,
    );
  // Naming the tool may leave it uncompiled; running it does not.
  if (!existsSync(named.stdout))
    await execa("go", ["-C", directory, "tool", module.name, "version"], { env });
  mkdirSync(cacheDirectory, { recursive: true });
  writeFileSync(remembered, named.stdout);
  return named.stdout;
}

/** What an installed program says of its version; undefined if there is none. */
export async function installedVersion(program: string, args: string[]): Promise<string | undefined> {
  const { exitCode, stdout } = await execa(program, args, { reject: false });
  return exitCode === 0 ? stdout.trim() : undefined;
}
