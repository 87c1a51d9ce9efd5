/** Packs archives with tar(1), and reads them back. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { execa } from "execa";
import { extract } from "tar-stream";
import { Failure, reasonOf } from "./failure.ts";
import type { ArchivedPod, Manifest } from "./manifest.ts";
import { sha256Of } from "./storage.ts";

/** Runs `tar -czf ARCHIVE DIRECTORY`, from the directory `cwd` if given, and returns the list that `tar -tzvf` prints. */
export async function pack(directory: string, archive: string, cwd?: string): Promise<string> {
  const options = cwd === undefined ? {} : { cwd };
  try {
    await execa("tar", ["-czf", archive, directory], options);
    const { stdout } = await execa("tar", ["-tzvf", archive], { maxBuffer: 1e9 });
    return stdout;
  } catch (cause) {
    await rm(archive, { force: true });
    throw new Failure(`${directory} could not be packed into ${archive}`, { cause });
  }
}

/** One pod's file in an archive. Read it to its end before you ask for the next one. */
export interface Member {
  pod: ArchivedPod;
  content: AsyncIterable<Buffer>;
}

/**
 * Reads an archive to its end and compares it with its manifest. What it yields counts only once it has ended.
 * @throws Failure that says what differs
 */
export async function* membersOf(archive: string, manifest: Manifest): AsyncGenerator<Member> {
  const refuse = (what: string, cause?: unknown): Failure =>
    new Failure(`${archive} is damaged: ${what}`, { cause, next: "npm run restore -- --list" });
  const found = await stat(archive).catch((cause) => {
    // Since the archives were listed, a run may have merged those of a day.
    throw new Failure(`${archive} is missing`, {
      cause,
      next: "npm run restore -- --list",
    });
  });
  if (found.size !== manifest.bytes) throw refuse(`it has ${found.size} bytes, not ${manifest.bytes}`);
  const digest = await sha256Of(archive);
  if (digest !== manifest.sha256) throw refuse(`its SHA-256 is ${digest}, not ${manifest.sha256}`);

  const missing = new Map(manifest.pods.map((pod) => [pod.file, pod]));
  const entries = extract();
  // An error of the stream is thrown where its entries are read.
  pipeline(createReadStream(archive), createGunzip(), entries).catch(() => undefined);
  const reader = entries[Symbol.asyncIterator]();
  try {
    for (;;) {
      const entry = await reader.next().catch((error) => {
        throw refuse(reasonOf(error));
      });
      if (entry.done) break;
      const pod = missing.get(basename(entry.value.header.name));
      if (!pod || entry.value.header.type !== "file") {
        entry.value.resume();
        continue;
      }
      missing.delete(pod.file);
      const own = createHash("sha256");
      yield { pod, content: tapped(entry.value as AsyncIterable<Buffer>, own) };
      const sha256 = own.digest("hex");
      if (sha256 !== pod.sha256) throw refuse(`${pod.file} has SHA-256 ${sha256}, not ${pod.sha256}`);
    }
  } finally {
    entries.destroy();
  }
  const [absent] = missing.keys();
  if (absent !== undefined) throw refuse(`${absent} is not in it`);
}

async function* tapped(
  content: AsyncIterable<Buffer>,
  digest: ReturnType<typeof createHash>,
): AsyncGenerator<Buffer> {
  for await (const chunk of content) {
    digest.update(chunk);
    yield chunk;
  }
}

/** Reads an archive to its end, only to verify that it is whole. Throws a Failure if it is not. */
export async function verify(archive: string, manifest: Manifest): Promise<void> {
  for await (const { content } of membersOf(archive, manifest)) for await (const _ of content);
}
