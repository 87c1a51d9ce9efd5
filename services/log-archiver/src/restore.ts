/** Lines out of archives again. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { Failure } from "./failure.ts";
import { linesIn, partsOf } from "./lines.ts";
import { type Manifest, manifestName, parseManifest } from "./manifest.ts";
import { manifestsIn } from "./storage.ts";
import { unpack } from "./tar.ts";

/** Which lines of which archives. */
export interface Selection {
  /** `latest`, `all`, an archive's name, or the path of one that has its manifest beside it. */
  from: string;
  since: Date | undefined;
  grep: RegExp | undefined;
}

/** An archive and what is known of it. */
interface Found {
  path: string;
  manifest: Manifest;
}

/**
 * Verifies archives and passes their lines on, merged by time.
 * @returns how many lines were passed on
 * @throws Failure for an archive that is missing or damaged, before the first line
 */
export async function restore(
  archives: string,
  temporary: string,
  { from, since, grep }: Selection,
  print: (line: string) => Promise<void>,
): Promise<number> {
  const scratch = await mkdtemp(join(temporary, "restore-"));
  try {
    const files: string[] = [];
    const found = await find(archives, from);
    for (const { path, manifest } of found) files.push(...(await unpack(path, manifest, scratch)).files);
    if (files.length === 0) return 0;
    const start = since?.toISOString() ?? "";
    let count = 0;
    for await (const line of merged(files, found.length > 1)) {
      if (start !== "" && (partsOf(line)?.time ?? "") < start) continue;
      if (grep && !grep.test(line)) continue;
      await print(line);
      count++;
    }
    return count;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The archives that a selection means. */
export async function find(archives: string, from: string): Promise<Found[]> {
  if (from.includes("/")) {
    const manifest = join(dirname(from), manifestName(basename(from)));
    const text = await readFile(manifest, "utf8").catch((cause) => {
      throw new Failure(`${from} has no manifest beside it`, { cause });
    });
    return [{ path: from, manifest: parseManifest(text) }];
  }
  const manifests = await manifestsIn(archives);
  const chosen =
    from === "all"
      ? manifests
      : from === "latest"
        ? manifests.slice(-1)
        : manifests.filter(({ archive }) => archive === from || manifestName(archive) === from);
  if (chosen.length === 0) {
    const what = from === "latest" || from === "all" ? "no archive" : `no archive named ${from}`;
    throw new Failure(`there is ${what} in ${archives}`, { next: "restore --list" });
  }
  return chosen.map((manifest) => ({ path: join(archives, manifest.archive), manifest }));
}

/** The lines of files that are each in the order of their times; of several archives each line once. */
async function* merged(files: string[], unique: boolean): AsyncGenerator<string> {
  const args = unique ? ["--unique"] : ["--merge", "--stable", "--field-separator= ", "--key=1,1"];
  const child: ChildProcessByStdio<null, Readable, Readable> = spawn("sort", [...args, ...files], {
    env: { ...process.env, LC_ALL: "C" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint += chunk;
  });
  const ended = once(child, "close");
  try {
    yield* linesIn(child.stdout);
    const [code] = await ended;
    if (code !== 0) throw new Failure(`sort failed: ${complaint.trim() || `exit code ${code}`}`);
  } finally {
    child.kill();
  }
}
