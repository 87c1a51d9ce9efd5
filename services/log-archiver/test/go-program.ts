/** Go programs of the tests, each built once from the go.mod that pins it. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { goEnvironment } from "../../../lib/modules.ts";

// Where ./deploy.sh keeps what it compiles: the standard library is then compiled once for both.
const cache =
  process.env.CACHE_DIR ??
  (process.getuid?.() === 0
    ? "/var/cache/logging-platform"
    : join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "logging-platform"));

const flags = ["-trimpath", "-ldflags", "-s -w"];

function directory(name: string, module: string): string {
  const hash = createHash("sha256").update(JSON.stringify(flags));
  for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(join(module, file)));
  return join(cache, "bin", `${name}-${hash.digest("hex").slice(0, 16)}`);
}

// flock(1) lets go when its holder dies; whoever waited for it finds the binary and builds nothing.
const buildOnce = `
  set -e
  target=$1; shift
  [ ! -e "$target" ] || exit 0
  rm -rf "$target.partial"
  mkdir "$target.partial"
  nice go build "$@" -o "$target.partial/" tool
  mv "$target.partial" "$target"`;

/**
 * The path of a program, built if it is not in the cache yet. Any number of processes may ask at once.
 * @param module the directory of a Go module with the program as its only tool
 * @throws an error with the compiler's last words
 */
export async function goProgram(name: string, module: string): Promise<string> {
  const target = directory(name, module);
  if (!existsSync(target)) {
    mkdirSync(join(cache, "bin"), { recursive: true });
    const lock = join(cache, "bin", `${name}.lock`);
    await execa("flock", [lock, "sh", "-c", buildOnce, "sh", target, ...flags], {
      cwd: module,
      env: {
        ...goEnvironment(),
        GOCACHE: join(cache, "go-build"),
        GOMODCACHE: join(cache, "go-mod"),
        GOGC: process.env.GOGC ?? "400",
      },
    });
  }
  return join(target, name);
}
