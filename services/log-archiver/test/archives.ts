/** What runs have stored, and how it would look had they been days ago. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect } from "vitest";
import { archiveName, type Manifest, manifestName } from "../src/manifest.ts";
import { sha256Of } from "../src/storage.ts";
import type { Platform, Pod } from "./platform.ts";

/** The manifests that are stored, oldest first. */
export const manifestsOf = (platform: Platform): Manifest[] =>
  platform
    .stored()
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(readFileSync(join(platform.archives, name), "utf8")) as Manifest);

/** The manifest of the platform's last run. */
export const newestOf = (platform: Platform): Manifest =>
  manifestsOf(platform)
    .toSorted((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0))
    .at(-1) as Manifest;

/** The request ids of lines. */
export const idsOf = (lines: string[]): string[] => lines.map((line) => line.split(" ")[1] ?? "");

/** Expects a run to end well, without a complaint; returns what it prints. */
export async function archived(platform: Platform, ...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await platform.run("archive", ...args);
  expect([exitCode, stderr]).toEqual([0, ""]);
  return stdout;
}

/** A pod and its log are gone, and so is its name at the API server. */
export function removePod(platform: Platform, pod: Pod): void {
  platform.pods.splice(platform.pods.indexOf(pod), 1);
  pod.process?.kill("SIGKILL");
}

/** Puts the days of what is stored back, as if the runs had been then. */
export async function age(platform: Platform, days: number): Promise<void> {
  const earlier = (time: string): string =>
    time === "" ? "" : new Date(Date.parse(time) - days * 86_400_000).toISOString();
  for (const manifest of manifestsOf(platform)) {
    const scratch = platform.path("aging");
    const old = join(platform.archives, manifest.archive);
    await execa("tar", ["-xzf", old, "-C", scratch, "--transform", "s,.*/,,", "--wildcards", "*.log"], {
      reject: false,
    });
    mkdirSync(join(scratch, "app/logs"), { recursive: true });
    for (const pod of manifest.pods) {
      const text = readFileSync(join(scratch, pod.file), "utf8");
      const aged = text.replace(/^\S+Z(?= )/gm, earlier);
      writeFileSync(join(scratch, "app/logs", pod.file), aged);
      pod.sha256 = await sha256Of(join(scratch, "app/logs", pod.file));
      pod.first = earlier(pod.first);
      pod.last = earlier(pod.last);
    }
    rmSync(old);
    rmSync(join(platform.archives, manifestName(manifest.archive)));
    manifest.archive = archiveName(new Date(earlier(manifest.started)));
    await execa("tar", ["-czf", join(platform.archives, manifest.archive), "app/logs/"], { cwd: scratch });
    manifest.sha256 = await sha256Of(join(platform.archives, manifest.archive));
    manifest.bytes = readFileSync(join(platform.archives, manifest.archive)).length;
    manifest.started = earlier(manifest.started);
    manifest.finished = earlier(manifest.finished);
    writeFileSync(join(platform.archives, manifestName(manifest.archive)), JSON.stringify(manifest));
    rmSync(scratch, { recursive: true });
  }
}
