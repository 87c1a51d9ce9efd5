/** A further copy of the archives on an rclone remote, such as `s3:bucket/path`. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ExecaError, execa } from "execa";
import { Failure } from "./failure.ts";
import { isArchiveName, isManifestName, type Manifest, manifestName, parseManifest } from "./manifest.ts";
import { manifestsIn, sha256Of } from "./storage.ts";

// A bucket that does not exist is a mistake, so rclone must not create it. Ten low-level retries against a server that
// does not answer take longer than the Job may run.
const flags = ["--s3-no-check-bucket", "--retries", "5", "--low-level-retries", "3"];

// rclone's exit code for a directory that does not exist.
const notFound = 3;

/** rclone's last message, without the time of day and without those of its earlier attempts. */
class RcloneFailure extends Failure {
  override name = "RcloneFailure";
  readonly exitCode: number | undefined;
  constructor({ stderr, shortMessage, code, exitCode }: ExecaError) {
    const words = String(stderr ?? "").split(/^\d{4}\/\d\d\/\d\d [\d:]+ /m);
    const last = words
      .at(-1)
      ?.trim()
      .replaceAll(/\s*\n\s*/g, " ");
    if (code === "ENOENT") super("rclone is not on the PATH", { next: "apt-get install --yes rclone" });
    else super(last || shortMessage);
    this.exitCode = exitCode;
  }
}

/** Runs rclone and returns what it prints. */
async function rclone(...args: string[]): Promise<string> {
  const { AWS_CA_BUNDLE: bundle } = process.env;
  // rclone 1.60 refuses every S3 remote when this variable is set ("unsupported transport"). It has a variable of its own.
  const env = bundle ? { RCLONE_CA_CERT: bundle, ...process.env, AWS_CA_BUNDLE: "" } : {};
  try {
    return (await execa("rclone", [...args, ...flags], { env, maxBuffer: 1e9, timeout: 300_000 })).stdout;
  } catch (error) {
    throw new RcloneFailure(error as ExecaError);
  }
}

const within = (remote: string, name: string): string =>
  remote.endsWith(":") ? `${remote}${name}` : `${remote.replace(/\/$/, "")}/${name}`;

/** The directory above a remote, which shows what the remote should have been called. */
export const above = (remote: string): string => remote.replace(/[^/:]*\/?$/, "").replace(/\/$/, "");

/** The error to throw if a remote cannot be read. */
function unreadable(remote: string, cause: unknown): Failure {
  if (!(cause instanceof RcloneFailure)) return new Failure(`${remote} cannot be read`, { cause });
  if (cause.exitCode === notFound)
    return new Failure(`there is no ${remote}`, { cause, next: `rclone lsf ${above(remote)}` });
  const next = cause.message.includes("didn't find section") ? "rclone listremotes" : `rclone lsf ${remote}`;
  return new Failure(`${remote} cannot be read`, { cause, next: cause.next ?? next });
}

/** The sizes of the archives and manifests on a remote, by name; none if its directory does not exist yet. */
async function sizesOn(remote: string): Promise<Map<string, number>> {
  try {
    const listing = await rclone("lsf", "--files-only", "--format", "sp", "--separator", "\t", remote);
    const files = listing.split("\n").map((line) => line.split("\t"));
    return new Map(
      files.flatMap(([size, name = ""]) =>
        isArchiveName(name) || isManifestName(name) ? [[name, Number(size)]] : [],
      ),
    );
  } catch (error) {
    if (error instanceof RcloneFailure && error.exitCode === notFound) return new Map();
    throw unreadable(remote, error);
  }
}

/**
 * Copies those archives of a directory to a remote that it lacks, and reads each back. It removes from the remote what an
 * archive of a whole day has replaced. An archive counts there, too, only with its manifest, and one of the wrong size is
 * copied again.
 * @returns the names of the archives that were copied
 * @throws Failure with rclone's last message
 */
export async function copyToRemote(
  directory: string,
  manifests: Manifest[],
  remote: string,
): Promise<string[]> {
  const there = await sizesOn(remote);
  const copied: string[] = [];
  const failures: unknown[] = [];
  for (const manifest of manifests) {
    const { archive, bytes, sha256 } = manifest;
    const described = manifestName(archive);
    try {
      if (there.has(described)) {
        if (there.get(archive) === bytes) continue;
        await refuseAnother(manifest, remote);
      }
      await copy(directory, archive, sha256, remote);
      await copy(directory, described, await sha256Of(join(directory, described)), remote);
      copied.push(archive);
    } catch (error) {
      // An archive that is damaged here must not keep the others from being copied.
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  for (const archive of manifests.flatMap(({ replaces = [] }) => replaces.map((one) => one.archive)))
    for (const name of [manifestName(archive), archive])
      if (there.has(name))
        await rclone("deletefile", within(remote, name)).catch((cause) => {
          throw new Failure(`${name} could not be removed from ${remote}`, { cause });
        });
  return copied;
}

/** If two platforms copied to one place, each would take the other's archive of a day for its own. */
async function refuseAnother({ archive, sha256 }: Manifest, remote: string): Promise<void> {
  const theirs = await rclone("cat", within(remote, manifestName(archive)));
  let known = false;
  try {
    known = parseManifest(theirs).sha256 === sha256;
  } catch {
    // The manifest is damaged as well as the archive, so both are replaced.
    known = true;
  }
  if (!known)
    throw new Failure(`${within(remote, archive)} is another platform's archive`, {
      next: "give each platform a path of its own in ARCHIVE_REMOTE",
    });
}

async function copy(directory: string, name: string, sha256: string, remote: string): Promise<void> {
  const target = within(remote, name);
  const found = await sha256Of(join(directory, name));
  if (found !== sha256)
    throw new Failure(`${join(directory, name)} is damaged and was not copied: its SHA-256 is ${found}`, {
      next: "npm run restore -- --verify",
    });
  try {
    await rclone("copyto", join(directory, name), target);
    const [copied] = (await rclone("hashsum", "sha256", "--download", target)).split(" ");
    if (copied !== sha256) throw new Failure(`${target} has SHA-256 ${copied} there, not ${sha256}`);
  } catch (cause) {
    throw new Failure(`${name} could not be copied to ${remote}`, { cause });
  }
}

/**
 * Fetches the manifests on a remote into a directory and reads them. `broken` is told the names of those that cannot be
 * fetched or read.
 * @throws Failure if the remote cannot be listed
 */
export async function manifestsOn(
  remote: string,
  directory: string,
  broken: (name: string) => void,
): Promise<Manifest[]> {
  try {
    const only = ["--max-depth", "1", "--size-only", "--include", "app-logs-*.json"];
    await rclone("copy", ...only, remote, directory);
  } catch (error) {
    const fetched = await readdir(directory);
    if (fetched.length === 0) throw unreadable(remote, error);
    const missing = [...(await sizesOn(remote)).keys()].filter(
      (name) => isManifestName(name) && !fetched.includes(name),
    );
    for (const name of missing) broken(name);
  }
  return manifestsIn(directory, broken);
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
