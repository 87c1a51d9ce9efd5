/** A further copy of the archives on an rclone remote, such as `s3:bucket/path`. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { Failure } from "./failure.ts";
import { isArchiveName, isManifestName, type Manifest, manifestName } from "./manifest.ts";
import { manifestsIn, sha256Of } from "./storage.ts";

// A bucket that is not there is a mistake, not one to be made. Ten low-level retries against a server that is away take
// longer than the Job has.
const flags = ["--s3-no-check-bucket", "--retries", "5", "--low-level-retries", "3"];
const rclone = (...args: string[]) =>
  execa("rclone", [...args, ...flags], { maxBuffer: 1e9, timeout: 300_000 });

const within = (remote: string, name: string): string =>
  remote.endsWith(":") ? `${remote}${name}` : `${remote.replace(/\/$/, "")}/${name}`;

/** The names of archives and manifests on a remote; none where its directory is not there yet. */
async function namesOn(remote: string): Promise<Set<string>> {
  try {
    const { stdout } = await rclone("lsf", "--files-only", remote);
    return new Set(stdout.split("\n").filter((name) => isArchiveName(name) || isManifestName(name)));
  } catch (cause) {
    // rclone's exit code for a directory that is not there.
    if ((cause as { exitCode?: number }).exitCode === 3) return new Set();
    throw new Failure(`${remote} cannot be listed`, { cause, next: `rclone lsf ${remote}` });
  }
}

/**
 * Copies to a remote what it lacks of a directory's archives, each read back, and removes there what an archive of a
 * whole day stands for by now. An archive without its manifest does not count there either.
 * @returns the names of what was copied
 * @throws Failure with rclone's last words
 */
export async function copyToRemote(
  directory: string,
  manifests: Manifest[],
  remote: string,
): Promise<string[]> {
  const there = await namesOn(remote);
  const copied: string[] = [];
  const failures: unknown[] = [];
  for (const { archive, sha256 } of manifests) {
    const described = manifestName(archive);
    if (there.has(described)) continue;
    try {
      await copy(directory, archive, sha256, remote);
      await copy(directory, described, await sha256Of(join(directory, described)), remote);
      copied.push(archive);
    } catch (error) {
      // One that is damaged here must not keep the others from being copied.
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  for (const archive of manifests.flatMap(({ replaces }) => replaces ?? []))
    for (const name of [manifestName(archive), archive])
      if (there.has(name))
        await rclone("deletefile", within(remote, name)).catch((cause) => {
          throw new Failure(`${name} could not be removed from ${remote}`, { cause });
        });
  return copied;
}

async function copy(directory: string, name: string, sha256: string, remote: string): Promise<void> {
  const target = within(remote, name);
  try {
    await rclone("copyto", join(directory, name), target);
    const { stdout } = await rclone("hashsum", "sha256", "--download", target);
    if (stdout.split(" ")[0] !== sha256) throw new Failure(`${target} has another content there: ${stdout}`);
  } catch (cause) {
    throw new Failure(`${name} could not be copied to ${remote}`, { cause });
  }
}

/** The manifests on a remote, by way of a directory. What cannot be read as one is named to `unreadable`. */
export async function manifestsOn(
  remote: string,
  directory: string,
  unreadable: (name: string) => void,
): Promise<Manifest[]> {
  try {
    await rclone(
      "copy",
      "--max-depth",
      "1",
      "--size-only",
      "--include",
      "app-logs-*.json",
      remote,
      directory,
    );
  } catch (cause) {
    throw new Failure(`${remote} cannot be read`, { cause, next: `rclone lsf ${remote}` });
  }
  return manifestsIn(directory, unreadable);
}

/** Fetches one archive from a remote into a directory and returns its path. */
export async function fetchFrom(remote: string, archive: string, directory: string): Promise<string> {
  const path = join(directory, archive);
  try {
    await rclone("copyto", within(remote, archive), path);
  } catch (cause) {
    await rm(path, { force: true });
    throw new Failure(`${archive} could not be fetched from ${remote}`, {
      cause,
      next: `rclone lsf ${remote}`,
    });
  }
  return path;
}
