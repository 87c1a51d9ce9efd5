import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sourceTag } from "../../lib/git/source-tag.ts";
import { readRepository } from "../../lib/repository.ts";
import { committedTags } from "../src/git/deployments.ts";

describe("in a real repository", () => {
  let directory: string;
  const git = (...args: string[]): string => execFileSync("git", args, { cwd: directory, encoding: "utf8" });
  const commit = (): string =>
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--all", "--message=x");

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "repository-"));
    git("init", "--quiet");
    mkdirSync(join(directory, "services/shop"), { recursive: true });
    writeFileSync(join(directory, "services/shop/main.ts"), "1");
    writeFileSync(join(directory, "other.txt"), "1");
    writeFileSync(join(directory, ".gitignore"), "ignored\n");
    git("add", ".");
    commit();
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test("a service's tag follows its committed sources and nothing else", async () => {
    const before = await sourceTag(directory, "services/shop");
    expect(before).toMatch(/^[0-9a-f]{12}$/);
    writeFileSync(join(directory, "other.txt"), "2");
    commit();
    writeFileSync(join(directory, "services/shop/main.ts"), "2");
    expect(await sourceTag(directory, "services/shop")).toBe(before);
    commit();
    expect(await sourceTag(directory, "services/shop")).not.toBe(before);
  });

  test("every tag has the newest commit that made its sources, and not a merge that brought them", async () => {
    const tags: string[] = [];
    const write = async (text: string): Promise<void> => {
      writeFileSync(join(directory, "services/shop/main.ts"), text);
      commit();
      tags.push(await sourceTag(directory, "services/shop"));
    };
    await write("2");
    git("checkout", "--quiet", "-b", "side");
    await write("3");
    const side = git("rev-parse", "HEAD").trim();
    git("checkout", "--quiet", "-");
    writeFileSync(join(directory, "other.txt"), "2");
    commit();
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "merge", "--quiet", "--no-edit", "side");
    expect((await committedTags(directory, "services/shop")).get(tags[1] ?? "")).toBe(side);
    await write("2");
    const again = git("rev-parse", "HEAD").trim();
    expect((await committedTags(directory, "services/shop")).get(tags[0] ?? "")).toBe(again);
    expect(await committedTags(directory, "services/none")).toEqual(new Map());
  });

  test("a service that was never committed has no tag", async () => {
    mkdirSync(join(directory, "services/new"));
    await expect(sourceTag(directory, "services/new")).rejects.toThrow("services/new is in no commit yet");
  });

  test("files are read as they stand: changed, new and removed, but not ignored", async () => {
    writeFileSync(join(directory, "new.txt"), "n");
    writeFileSync(join(directory, "ignored"), "i");
    writeFileSync(join(directory, "services/shop/main.ts"), "2");
    rmSync(join(directory, "other.txt"));
    const repository = await readRepository(directory);
    expect([...repository.keys()].sort()).toEqual([".gitignore", "new.txt", "services/shop/main.ts"]);
    expect(repository.get("services/shop/main.ts")).toBe("2");
    expect(readFileSync(join(directory, "ignored"), "utf8")).toBe("i");
  });
});
