/** An archive from npm's registry goes into an image only if its hash is the one recorded when its version was pinned. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { repository } from "./layout.ts";

const file = "bootstrap/embedded/integrity.json";

/** The hash of a package's archive at the version that `versions.yaml` pins, as npm writes it. */
export function integrityOf(name: string): string {
  const known = JSON.parse(readFileSync(join(repository, file), "utf8")) as Record<string, string>;
  const integrity = known[name];
  if (!integrity) throw new Failure(`${file} has no hash of ${name}`, `npm view ${name} dist.integrity`);
  return integrity;
}

/**
 * Refuses an archive whose hash is not the recorded one.
 * @throws Failure that names both hashes
 */
export function requireIntegrity(name: string, version: string, archive: string): void {
  const wanted = integrityOf(name);
  const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
  if (found === wanted) return;
  throw new Failure(
    `${name} ${version} has the hash ${found}, but ${file} says ${wanted}: it is not used`,
    `npm view ${name}@${version} dist.integrity (and put it into ${file} if versions.yaml was raised)`,
  );
}
