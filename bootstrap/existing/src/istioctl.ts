/** Finds istioctl of the pinned release: the one on the PATH, or a download whose hash is verified. */
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { deployCommand } from "../../../lib/cluster/kubectl.ts";
import { Failure } from "../../../lib/failure.ts";
import { log, run } from "../../../lib/process.ts";
import { note, progress } from "../../../lib/progress.ts";
import { fetchThroughProxy } from "../../../lib/proxy.ts";
import { quoted } from "../../../lib/quoted.ts";
import { pinned } from "./target.ts";

const releases = (): string =>
  process.env.ISTIO_RELEASES ?? "https://github.com/istio/istio/releases/download";

/** The version that a program reports; undefined if it does not run or reports none. */
export async function istioctlVersion(program: string): Promise<string | undefined> {
  const { stdout, failed } = await execa(program, ["version", "--remote=false", "--output", "json"], {
    reject: false,
  });
  if (failed) return undefined;
  try {
    return (JSON.parse(stdout) as { clientVersion: { version: string } }).clientVersion.version;
  } catch {
    return undefined;
  }
}

/**
 * The istioctl to call.
 * @throws Failure if it is neither installed nor available for download
 */
export async function findIstioctl(): Promise<string> {
  const version = pinned("istio");
  const installed = await istioctlVersion("istioctl");
  if (installed === version) return "istioctl";
  if (installed) note(`istioctl ${installed} is on the PATH, but ${version} is pinned and will be fetched`);
  const directory = join(process.env.CACHE_DIR ?? "/var/cache/logging-platform", `istioctl-${version}`);
  const program = join(directory, "istioctl");
  if (!existsSync(program)) await download(version, directory);
  const fetched = await istioctlVersion(program);
  if (fetched === version) return program;
  throw new Failure(
    `${program} is ${fetched ?? "not an istioctl that runs here"}, expected ${version}`,
    `rm -r ${quoted(directory)} && ${deployCommand()}`,
  );
}

/** The name of a release's archive for an operating system and a processor. */
export function archiveName(version: string, platform: string, architecture: string): string {
  const system = { linux: "linux", darwin: "osx" }[platform];
  const processor = { x64: "amd64", arm64: "arm64" }[architecture];
  if (!system || !processor)
    throw new Failure(
      `there is no istioctl for ${platform} on ${architecture}`,
      `put istioctl ${version} on the PATH`,
    );
  return `istioctl-${version}-${system}-${processor}.tar.gz`;
}

async function download(version: string, directory: string): Promise<void> {
  const name = archiveName(version, process.platform, process.arch);
  const url = `${releases()}/${version}/${name}`;
  const next = `${deployCommand()} (or put istioctl ${version} on the PATH: ${url})`;
  progress(`fetching ${name}`);
  const [archive, sum] = await Promise.all([fetchBytes(url, next), fetchBytes(`${url}.sha256`, next)]);
  const expected = sum.toString("utf8").trim().split(/\s+/)[0];
  const actual = createHash("sha256").update(archive).digest("hex");
  if (actual !== expected)
    throw new Failure(`${url} has SHA-256 ${actual}, but its release says ${expected}: it is not used`, next);
  log(`${name} has the SHA-256 of its release: ${actual}`);
  // It is unpacked next to its place and then moved, so that a killed run leaves nothing that looks complete.
  mkdirSync(join(directory, ".."), { recursive: true });
  const stage = mkdtempSync(`${directory}.`);
  try {
    writeFileSync(join(stage, name), archive);
    await run("tar", ["-xzf", join(stage, name), "-C", stage, "istioctl"]);
    chmodSync(join(stage, "istioctl"), 0o755);
    rmSync(join(stage, name));
    rmSync(directory, { recursive: true, force: true });
    renameSync(stage, directory);
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

async function fetchBytes(url: string, next: string): Promise<Buffer> {
  const signal = AbortSignal.timeout(300_000);
  const response = await fetchThroughProxy(url, { signal }).catch((error: Error) => {
    const { cause } = error as Error & { cause?: Error };
    throw new Failure(`${url} cannot be fetched: ${cause?.message || error.message}`, next);
  });
  if (!response.ok) throw new Failure(`${url} answered ${response.status}`, next);
  return Buffer.from(await response.arrayBuffer());
}
