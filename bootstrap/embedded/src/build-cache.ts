/** Removes what the build cache no longer needs. Without this it would grow with every version that is built. */
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** The archives in Go's module cache that are already unpacked. Go no longer reads them. */
function unpackedArchives(moduleCache: string): string[] {
  const downloads = join(moduleCache, "cache/download");
  if (!existsSync(downloads)) return [];
  return (readdirSync(downloads, { recursive: true }) as string[]).filter((path) => {
    if (!path.endsWith(".zip") || basename(dirname(path)) !== "@v") return false;
    const version = basename(path, ".zip");
    const directory = join(moduleCache, `${dirname(dirname(path))}@${version}`);
    // Go keeps a marker file until the directory is complete.
    return existsSync(directory) && !existsSync(join(downloads, path.replace(/\.zip$/, ".partial")));
  });
}

/**
 * Removes the archives that Go has downloaded and unpacked. Go keeps their checksums, and builds without the archives.
 * @param moduleCache Go's GOMODCACHE, which other Go commands may be using
 * @returns how many bytes were removed
 */
export function removeUnpackedArchives(moduleCache: string): number {
  let bytes = 0;
  for (const path of unpackedArchives(moduleCache)) {
    const file = join(moduleCache, "cache/download", path);
    bytes += statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    rmSync(file, { force: true });
  }
  return bytes;
}

const unusedAfterDays = 30;

/** Marks a build as used by setting the time of its directory. */
export function markUsed(build: string): void {
  const now = new Date();
  utimesSync(build, now, now);
}

/**
 * Removes a module's builds that nobody has used for 30 days, for example after an upgrade. They can be built again.
 * @param directory holds the builds, each named after its module and 16 hexadecimal digits
 */
export function removeUnusedBuilds(directory: string, name: string, now = Date.now()): void {
  for (const entry of readdirSync(directory)) {
    if (!entry.startsWith(`${name}-`) || !/^[0-9a-f]{16}$/.test(entry.slice(name.length + 1))) continue;
    const used = statSync(join(directory, entry), { throwIfNoEntry: false })?.mtimeMs ?? now;
    if (now - used > unusedAfterDays * 86_400_000)
      rmSync(join(directory, entry), { recursive: true, force: true });
  }
}
