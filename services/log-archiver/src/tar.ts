/** Packing, reading back and unpacking archives, with tar(1). */
import { mkdir, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { execa } from "execa";
import { Failure, reasonOf } from "./failure.ts";
import type { Manifest } from "./manifest.ts";
import { sha256Of } from "./storage.ts";

/** Runs `tar -czf ARCHIVE DIRECTORY` and returns what `tar -tzvf` then lists. */
export async function pack(directory: string, archive: string): Promise<string> {
  try {
    await execa("tar", ["-czf", archive, directory]);
    const { stdout } = await execa("tar", ["-tzvf", archive]);
    return stdout;
  } catch (cause) {
    await rm(archive, { force: true });
    throw new Failure(`${directory} could not be packed into ${archive}`, { cause });
  }
}

/**
 * Reads an archive to its end, into a directory of its own below `scratch`, and compares it with its manifest.
 * @returns the unpacked files, in the manifest's order; the caller removes their directory
 * @throws Failure that says what differs
 */
export async function unpack(
  archive: string,
  manifest: Manifest,
  scratch: string,
): Promise<{ directory: string; files: string[] }> {
  const refuse = (what: string, cause?: unknown): Failure =>
    new Failure(`${archive} is damaged: ${what}`, { cause, next: "restore --list" });
  const found = await stat(archive).catch((cause) => {
    throw new Failure(`${archive} is missing`, { cause, next: "restore --list" });
  });
  if (found.size !== manifest.bytes) throw refuse(`it has ${found.size} bytes, not ${manifest.bytes}`);
  const digest = await sha256Of(archive);
  if (digest !== manifest.sha256) throw refuse(`its SHA-256 is ${digest}, not ${manifest.sha256}`);
  const directory = join(scratch, basename(archive, ".tar.gz"));
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  try {
    const flags = ["--no-same-owner", "--no-same-permissions", "--transform", "s,.*/,,", "--wildcards"];
    if (manifest.pods.length > 0)
      await execa("tar", ["-xzf", archive, ...flags, "-C", directory, "*.log"]).catch((error) => {
        throw refuse(reasonOf(error));
      });
    const files: string[] = [];
    for (const { file, sha256 } of manifest.pods) {
      const path = join(directory, file);
      const unpacked = await sha256Of(path).catch((cause) => {
        throw refuse(`${file} is not in it`, cause);
      });
      if (unpacked !== sha256) throw refuse(`${file} has SHA-256 ${unpacked}, not ${sha256}`);
      files.push(path);
    }
    return { directory, files };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}
