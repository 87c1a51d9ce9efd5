/** Code as a part of what a cached result came from. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "../build.ts";

/** The texts of this code's files, for cache keys: a result of an older version may not be that of this one. */
export function ownCode(directory: string): string {
  if (build !== undefined) return build;
  return (readdirSync(directory, { recursive: true }) as string[])
    .filter((file) => file.endsWith(".ts"))
    .sort()
    .map((file) => readFileSync(join(directory, file), "utf8"))
    .join("\n");
}
