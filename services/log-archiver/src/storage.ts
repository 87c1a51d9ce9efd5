/** Where archives outlive the pod: a directory on a volume and, where configured, an S3 bucket through rclone. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import { Failure } from "./failure.ts";
import { isManifestName, type Manifest, manifestName, parseManifest } from "./manifest.ts";

const partial = ".partial";
const partialsAreDeadAfterMs = 24 * 3600 * 1000;

/** SHA-256 of a file, in hex. */
export async function sha256Of(path: string): Promise<string> {
  const digest = createHash("sha256");
  await pipeline(createReadStream(path), digest);
  return digest.digest("hex");
}

/** The manifests in a directory, oldest first. What cannot be read as one is left out and named to `unreadable`. */
export async function manifestsIn(
  directory: string,
  unreadable: (name: string) => void = () => undefined,
): Promise<Manifest[]> {
  const names = (await readdir(directory)).filter(isManifestName).sort();
  const manifests: Manifest[] = [];
  for (const name of names) {
    try {
      manifests.push(parseManifest(await readFile(join(directory, name), "utf8")));
    } catch {
      unreadable(name);
    }
  }
  return manifests;
}

/**
 * Copies an archive into a directory, reads the copy back, then writes the manifest.
 * What is there already stays as it is, also when there is no room: then it throws a Failure.
 */
export async function keep(archive: string, manifest: Manifest, directory: string): Promise<void> {
  const target = join(directory, manifest.archive);
  const scratch = `${target}${partial}`;
  const manifestScratch = join(directory, `${manifestName(manifest.archive)}${partial}`);
  try {
    await pipeline(createReadStream(archive), createWriteStream(scratch));
    await sync(scratch);
    const copied = await sha256Of(scratch);
    if (copied !== manifest.sha256)
      throw new Failure(
        `the copy of ${manifest.archive} in ${directory} has SHA-256 ${copied}, not ${manifest.sha256}`,
      );
    await pipeline([`${JSON.stringify(manifest, undefined, 2)}\n`], createWriteStream(manifestScratch));
    await sync(manifestScratch);
    await rename(scratch, target);
    await rename(manifestScratch, join(directory, manifestName(manifest.archive)));
    await sync(directory);
  } catch (cause) {
    await rm(scratch, { force: true });
    await rm(manifestScratch, { force: true });
    throw new Failure(
      `${manifest.archive} could not be stored in ${directory}; older archives are untouched`,
      {
        cause,
      },
    );
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes archives, each one's manifest first: an archive without one does not count. */
export async function remove(manifests: Manifest[], directory: string): Promise<void> {
  for (const { archive } of manifests) {
    await rm(join(directory, manifestName(archive)), { force: true });
    await rm(join(directory, archive), { force: true });
  }
}

/** Removes what killed runs left: partial copies, and archives that never got a manifest. */
export async function removeRemains(directory: string, now: Date): Promise<string[]> {
  const names = await readdir(directory);
  const remains: string[] = [];
  for (const name of names) {
    if (!name.startsWith("app-logs-")) continue;
    const orphan = name.endsWith(".tar.gz") && !names.includes(manifestName(name));
    if (!orphan && !name.endsWith(partial)) continue;
    const { mtimeMs } = await stat(join(directory, name)).catch(() => ({ mtimeMs: now.getTime() }));
    if (now.getTime() - mtimeMs < partialsAreDeadAfterMs) continue;
    await rm(join(directory, name), { force: true });
    remains.push(name);
  }
  return remains;
}

/**
 * Copies an archive and its manifest to an rclone remote such as `s3:bucket/path` and reads them back.
 * @throws Failure with rclone's last words
 */
export async function copyToRemote(directory: string, manifest: Manifest, remote: string): Promise<void> {
  for (const name of [manifest.archive, manifestName(manifest.archive)]) {
    const target = `${remote.replace(/\/$/, "")}/${name}`;
    try {
      await execa("rclone", ["copyto", "--retries", "5", join(directory, name), target]);
      const { stdout } = await execa("rclone", ["hashsum", "sha256", "--download", target]);
      const expected = name === manifest.archive ? manifest.sha256 : await sha256Of(join(directory, name));
      if (stdout.split(" ")[0] !== expected)
        throw new Failure(`${basename(target)} has another content there: ${stdout}`);
    } catch (cause) {
      throw new Failure(`${name} could not be copied to ${remote}`, { cause });
    }
  }
}
