/**
 * One file that holds what the cluster is: etcd's data, the volumes with the Git repository among them, what the nodes have
 * collected, certificates, keys and passwords. Programs and images are not in it: bootstrap makes these again.
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

/** What a backup says of itself, in its first file. */
export interface Manifest {
  /** Of the layout of the file. */
  format: 1;
  made: string;
  /** Of the checkout that made it. */
  commit: string;
  kubernetes: string;
  etcd: string;
  /** Of etcd's data. */
  sha256: string;
}

const manifestName = "backup.json";
const snapshotName = "etcd.snapshot";
const staging = (...parts: string[]): string => state("backup", ...parts);
const volumes = (node: string): string => state("nodes", node, "opt/local-path-provisioner");
const collected = (node: string): string => state("nodes", node, "var/lib/log-agent");

/** Where a backup goes if nobody says so: not into the checkout, where it could be committed. */
export function defaultFile(now = new Date()): string {
  return `/var/backups/logging-platform-${now.toISOString().replace(/[-:]|\.\d+/g, "")}.tar.gz`;
}

/**
 * Writes a backup of the platform that runs. Root alone may read it: whoever has it has every password and key.
 * @param file the file to write; one that is there is not overwritten
 * @returns the file and its size in MiB
 * @throws Failure where no platform runs, or where its Git repository changed during every one of three attempts
 */
export async function backup(file = defaultFile()): Promise<{ file: string; mebibytes: number }> {
  if (!((await supervisorRuns()) && (await programStates()).etcd === "RUNNING"))
    throw new Failure("no platform runs here: there is nothing to back up", "./deploy.sh");
  if (existsSync(file)) throw new Failure(`${file} is there already`, "./deploy.sh backup OTHER_FILE");
  rmSync(staging(), { recursive: true, force: true });
  mkdirSync(staging(), { mode: 0o700 });
  const partial = `${file}.partial`;
  try {
    await stage();
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(partial, "", { mode: 0o600 });
    chmodSync(partial, 0o600);
    progress(`writing ${file}`);
    // The manifest first, and once: whoever reads it does not wait for the rest.
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
  // Later than etcd: a volume that was made meanwhile is one too many, and not one too few.
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

// tar says 1 where a file went or grew while it was read, as logs and metrics do, and 2 where something is wrong.
const copyScript = `tar -C "$1" --create --xattrs . | tar -C "$2" --extract --numeric-owner --same-permissions --xattrs
codes=("\${PIPESTATUS[@]}")
[ "\${codes[0]}" -le 1 ] && [ "\${codes[1]}" = 0 ]`;

/**
 * Copies a directory of the state directory into the backup. A push or its garbage collection may run meanwhile: what has Git
 * repositories is copied again until they are whole.
 * @throws Failure where the third copy is not whole either
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
      throw new Failure(`${directory} could not be copied whole: ${damaged}`, "./deploy.sh backup");
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
 * Reads what a backup says of itself.
 * @throws Failure where the file is no backup, is damaged, or is of a newer version of this platform
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
    throw new Failure(`${file} is no backup of a platform, or it is damaged`, `tar -tzf ${quoted(file)}`);
  }
  if (manifest.format !== 1)
    throw new Failure(
      `${file} has the format ${manifest.format}, and this version reads the format 1`,
      "update the checkout to the version that made the backup",
    );
  return manifest as Manifest;
}

/**
 * Lays a backup's content into the state directory. The data of etcd is taken up by `ensureEtcdData` when the program for that
 * is there.
 * @throws Failure where a platform is there already, or the file is damaged; nothing is left behind then
 */
export async function unpack(file: string): Promise<void> {
  const manifest = await readManifest(file);
  // Half of a backup that a killed run left is nobody's platform.
  if (existsSync(unfinished()))
    for (const name of parts) rmSync(state(name), { recursive: true, force: true });
  else if (["pki", "etcd", "nodes"].some((name) => existsSync(state(name))))
    throw new Failure(
      `a platform is there already, in ${state()}`,
      "./deploy.sh backup && ./deploy.sh destroy",
    );
  progress(`reading ${file}`);
  rmSync(staging(), { recursive: true, force: true });
  mkdirSync(staging(), { recursive: true, mode: 0o700 });
  try {
    const options = ["--numeric-owner", "--same-permissions", "--xattrs", "-C", staging()];
    await run("tar", ["--extract", "--gzip", "-f", file, ...options]);
    if ((await sha256(staging(snapshotName))) !== manifest.sha256)
      throw new Failure(
        `etcd's data in ${file} is not what was saved: it is damaged`,
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

/** What a backup has besides etcd's data, as it lies in the state directory. */
const parts = ["pki", "secrets", "settings.json", "nodes"];

const unfinished = (): string => state("restore", "unfinished");

/**
 * Makes etcd's data of a backup that was unpacked, once.
 * @throws Failure where a restore was killed while it unpacked
 */
export async function ensureEtcdData(): Promise<void> {
  if (existsSync(unfinished()))
    throw new Failure("a restore was interrupted, and half of a backup is here", "./deploy.sh restore FILE");
  const snapshot = state("restore", snapshotName);
  if (!existsSync(snapshot)) return;
  progress("etcd's data of the backup");
  const peer = "https://127.0.0.1:2380";
  const fresh = state("restore", "etcd");
  rmSync(fresh, { recursive: true, force: true });
  await run(state("bin", "etcdutl"), [
    ...["snapshot", "restore", snapshot, "--data-dir", fresh, "--name", "embedded"],
    ...["--initial-cluster", `embedded=${peer}`, "--initial-advertise-peer-urls", peer],
    // Whoever watches from a revision that the snapshot does not have is told so, and reads everything anew.
    ...["--bump-revision", "1000000000", "--mark-compacted"],
  ]);
  rmSync(state("etcd"), { recursive: true, force: true });
  renameSync(fresh, state("etcd"));
  rmSync(state("restore"), { recursive: true });
}
