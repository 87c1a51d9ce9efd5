/**
 * Writes and reads one file with the state of the cluster: etcd's data, the volumes (one has the Git repository), the log
 * agents' data, certificates, keys and passwords. It has no programs and images, because bootstrap makes these again.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { Git, othersRepository } from "../../../lib/git/git.ts";
import { run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { quoted } from "../../../lib/quoted.ts";
import { pki } from "./certificates.ts";
import { nodes, repository, state } from "./layout.ts";
import { moduleVersion } from "./modules.ts";
import { programStates, supervisorRuns } from "./supervisor.ts";

/** The description of a backup, which is its first file. */
export interface Manifest {
  /** Version of the file's layout. */
  format: 1;
  made: string;
  /** Commit of the checkout that made the backup. */
  commit: string;
  kubernetes: string;
  etcd: string;
  /** Hash of etcd's data. */
  sha256: string;
}

const manifestName = "backup.json";
const snapshotName = "etcd.snapshot";
const staging = (...parts: string[]): string => state("backup", ...parts);
const volumes = (node: string): string => state("nodes", node, "opt/local-path-provisioner");
const collected = (node: string): string => state("nodes", node, "var/lib/log-agent");

/** The default file of a backup. It is not in the checkout, where it could be committed. */
export function defaultFile(now = new Date()): string {
  return `/var/backups/logging-platform-${now.toISOString().replace(/[-:]|\.\d+/g, "")}.tar.gz`;
}

/**
 * Writes a backup of the running platform. Only root can read it, because it contains every password and key.
 * @param file the file to write; an existing one is not overwritten
 * @returns the file and its size in MiB
 * @throws Failure if no platform runs, or if its Git repository changed during each of three attempts
 */
export async function backup(file = defaultFile()): Promise<{ file: string; mebibytes: number }> {
  if (!((await supervisorRuns()) && (await programStates()).etcd === "RUNNING"))
    throw new Failure("no platform is running here: there is nothing to back up", "./deploy.sh");
  if (existsSync(file)) throw new Failure(`${file} already exists`, "./deploy.sh backup OTHER_FILE");
  rmSync(staging(), { recursive: true, force: true });
  mkdirSync(staging(), { mode: 0o700 });
  const partial = `${file}.partial`;
  try {
    await stage();
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(partial, "", { mode: 0o600 });
    chmodSync(partial, 0o600);
    progress(`writing ${file}`);
    // The manifest is the first member, and occurs only once, so that it can be read without the rest.
    const members = [`--exclude=./${manifestName}`, manifestName, "."];
    await run("tar", [
      "--create",
      "--gzip",
      "--numeric-owner",
      "--xattrs",
      "-f",
      partial,
      "-C",
      staging(),
      ...members,
    ]);
    renameSync(partial, file);
  } finally {
    rmSync(staging(), { recursive: true, force: true });
    rmSync(partial, { force: true });
  }
  return { file, mebibytes: Math.ceil(statSync(file).size / 1024 ** 2) };
}

async function stage(): Promise<void> {
  progress("etcd's data");
  const snapshot = staging(snapshotName);
  await run(state("bin", "etcdctl"), [
    "--endpoints=https://127.0.0.1:2379",
    `--cacert=${pki("etcd-ca", "crt")}`,
    `--cert=${pki("apiserver-etcd-client", "crt")}`,
    `--key=${pki("apiserver-etcd-client", "key")}`,
    ...["snapshot", "save", snapshot],
  ]);
  for (const name of parts.filter((part) => part !== "nodes"))
    await run("cp", ["--archive", state(name), staging(name)]);
  progress("volumes");
  // The volumes come after etcd: one that was made meanwhile is then superfluous rather than missing.
  for (const { name } of nodes)
    for (const directory of [volumes(name), collected(name)])
      if (existsSync(directory)) await copyConsistently(directory);
  const manifest: Manifest = {
    format: 1,
    made: new Date().toISOString(),
    commit: await new Git(repository).run("rev-parse", "HEAD"),
    kubernetes: moduleVersion("kubernetes"),
    etcd: moduleVersion("etcd"),
    sha256: await sha256(snapshot),
  };
  writeFileSync(staging(manifestName), JSON.stringify(manifest, null, 2));
}

// tar exits with 1 if a file disappeared or grew while it was read, as logs and metrics do, and with 2 on errors.
const copyScript = `tar -C "$1" --create --xattrs . | tar -C "$2" --extract --numeric-owner --same-permissions --xattrs
codes=("\${PIPESTATUS[@]}")
[ "\${codes[0]}" -le 1 ] && [ "\${codes[1]}" = 0 ]`;

/**
 * Copies a directory of the state directory into the backup. A push or Git's garbage collection may run meanwhile, so a
 * directory with Git repositories is copied again until these are intact.
 * @throws Failure if the third copy is not intact either
 */
export async function copyConsistently(directory: string): Promise<void> {
  const target = staging(relative(state(), directory));
  for (let attempt = 1; ; attempt++) {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    await run("bash", ["-c", copyScript, "copy", directory, target]);
    const damaged = await damagedRepository(target);
    if (damaged === undefined) return;
    if (attempt === 3)
      throw new Failure(`${directory} could not be copied completely: ${damaged}`, "./deploy.sh backup");
  }
}

async function damagedRepository(directory: string): Promise<string | undefined> {
  for (const path of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    if (!path.endsWith(".git") || !existsSync(join(directory, path, "objects"))) continue;
    const git = new Git(join(directory, path));
    const whole = await git.try(...othersRepository, "fsck", "--connectivity-only", "--no-dangling");
    if (whole === undefined) return `${basename(path)} changed meanwhile`;
  }
  return undefined;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/**
 * Reads the description of a backup.
 * @throws Failure if the file is not a backup, is damaged, or was made by a newer version of this platform
 */
export async function readManifest(file: string): Promise<Manifest> {
  if (!existsSync(file)) throw new Failure(`there is no file ${file}`, `ls -l ${quoted(dirname(file))}`);
  let manifest: Partial<Manifest> = {};
  try {
    const text = await run(
      "tar",
      ["--extract", "--gzip", "--occurrence=1", "--to-stdout", "-f", file, manifestName],
      { quiet: true },
    );
    manifest = JSON.parse(text) as Partial<Manifest>;
  } catch {
    throw new Failure(`${file} is not a backup of a platform, or it is damaged`, `tar -tzf ${quoted(file)}`);
  }
  if (manifest.format !== 1)
    throw new Failure(
      `${file} has format ${manifest.format}, but this version reads format 1`,
      "update the checkout to the version that made the backup",
    );
  return manifest as Manifest;
}

/**
 * Puts a backup's content into the state directory. `ensureEtcdData` restores etcd's data later, when the program for that
 * is installed.
 * @throws Failure if a platform already exists or the file is damaged; nothing is left behind then
 */
export async function unpack(file: string): Promise<void> {
  const manifest = await readManifest(file);
  // If a killed run left part of a backup, that is not a platform.
  if (existsSync(unfinished()))
    for (const name of parts) rmSync(state(name), { recursive: true, force: true });
  else if (["pki", "etcd", "nodes"].some((name) => existsSync(state(name))))
    throw new Failure(`a platform already exists in ${state()}`, "./deploy.sh backup && ./deploy.sh destroy");
  progress(`reading ${file}`);
  rmSync(staging(), { recursive: true, force: true });
  mkdirSync(staging(), { recursive: true, mode: 0o700 });
  try {
    const options = ["--numeric-owner", "--same-permissions", "--xattrs", "-C", staging()];
    await run("tar", ["--extract", "--gzip", "-f", file, ...options]);
    if ((await sha256(staging(snapshotName))) !== manifest.sha256)
      throw new Failure(
        `etcd's data in ${file} differs from what was saved: it is damaged`,
        `tar -tzf ${quoted(file)}`,
      );
    mkdirSync(state("restore"), { recursive: true, mode: 0o700 });
    writeFileSync(unfinished(), "");
    for (const name of parts) if (existsSync(staging(name))) renameSync(staging(name), state(name));
    renameSync(staging(snapshotName), state("restore", snapshotName));
    rmSync(unfinished());
  } finally {
    rmSync(staging(), { recursive: true, force: true });
  }
}

/** Everything in a backup besides etcd's data, by its name in the state directory. */
const parts = ["pki", "secrets", "settings.json", "nodes"];

const unfinished = (): string => state("restore", "unfinished");

/**
 * Makes etcd's data from a backup that was unpacked. It does so only once.
 * @throws Failure if a restore was killed while it unpacked the backup
 */
export async function ensureEtcdData(): Promise<void> {
  if (existsSync(unfinished()))
    throw new Failure(
      "a restore was interrupted, and only part of a backup is here",
      "./deploy.sh restore FILE",
    );
  const snapshot = state("restore", snapshotName);
  if (!existsSync(snapshot)) return;
  progress("etcd's data of the backup");
  const peer = "https://127.0.0.1:2380";
  const fresh = state("restore", "etcd");
  rmSync(fresh, { recursive: true, force: true });
  await run(state("bin", "etcdutl"), [
    ...["snapshot", "restore", snapshot, "--data-dir", fresh, "--name", "embedded"],
    ...["--initial-cluster", `embedded=${peer}`, "--initial-advertise-peer-urls", peer],
    // A watch from a revision that the snapshot lacks gets an error, so that its client reads everything again.
    ...["--bump-revision", "1000000000", "--mark-compacted"],
  ]);
  rmSync(state("etcd"), { recursive: true, force: true });
  renameSync(fresh, state("etcd"));
  rmSync(state("restore"), { recursive: true });
}
