/** Whatever a person has configured in Git, and wherever a command is started from, it does the same. */
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, test, vi } from "vitest";
import { Git } from "../../lib/git/git.ts";
import { checkout, readRepository } from "../../lib/repository.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { lastRolledBack } from "../src/git/deployments.ts";
import { release, rollback } from "../src/release/release.ts";
import { clone, kustomization, openShop, shop } from "./shop.ts";

openShop();

const configure = async (settings: Record<string, string>): Promise<void> => {
  for (const [key, value] of Object.entries(settings)) await clone.person("config", key, value);
};
/** Where remote branch and refs are. */
const refs = (git: Git): Promise<string> => git.run("for-each-ref", "--format=%(refname) %(objectname)");

describe("a release is made and pushed on top of what others pushed", () => {
  /** Releases with others' commits to go on top of, and looks at what is on the remote branch then. */
  async function releases(): Promise<void> {
    const tag = await clone.change("one\n");
    await shop.move();
    expect((await release(clone.options({ push: true }))).outcome).toBe("pushed");
    expect(await shop.remote(kustomization)).toContain(`newTag: "${tag}"`);
    expect(await shop.remote("theirs.txt")).toBe("theirs");
  }

  const alone: [string, Record<string, string>][] = [
    ["colours", { "color.ui": "always" }],
    ["colours of one command", { "color.grep": "always", "color.diff": "always", "color.status": "always" }],
    ["the signing of pushes", { "push.gpgSign": "true" }],
    ["options of pushes", { "push.pushOption": "ci.skip" }],
    ["a remote that mirrors", { "remote.origin.mirror": "true" }],
    ["a strategy that keeps one side", { "pull.twohead": "ours" }],
  ];
  sweep(alone, 0)("with %s", async (_, settings) => {
    await configure(settings);
    await releases();
  });

  // Each was tried alone; together they take the time of one.
  test("with every habit at once", async () => {
    const off = ["merge.renames", "log.follow", "core.fileMode", "core.symlinks", "core.logAllRefUpdates"];
    const on = ["merge.verifySignatures", "merge.log", "merge.renormalize", "merge.autoStash", "log.mailmap"];
    const habits = ["rebase.abbreviateCommands", "rebase.forkPoint", "rebase.autoSquash", "rerere.enabled"];
    const more = ["rerere.autoUpdate", "submodule.recurse", "tag.gpgSign", "tag.forceSignAnnotated"];
    const files = ["core.preferSymlinkRefs", "core.splitIndex", "core.untrackedCache", "core.ignoreCase"];
    const shown = ["diff.noprefix", "diff.relative", "status.short", "status.branch", "grep.column"];
    await configure({
      ...Object.fromEntries(off.map((key) => [key, "false"])),
      ...Object.fromEntries([on, habits, more, files, shown].flat().map((key) => [key, "true"])),
      "merge.ff": "only",
      "pull.ff": "only",
      "merge.conflictStyle": "diff3",
      "merge.default": "union",
      "rebase.backend": "apply",
      "rebase.instructionFormat": "%an %s",
      "rebase.missingCommitsCheck": "error",
      "diff.external": "false",
      "diff.orderFile": "/nonexistent",
      "diff.renames": "copies",
      "format.pretty": "%H",
      "format.notes": "true",
      "notes.displayRef": "refs/notes/*",
      "log.date": "iso",
      "i18n.commitEncoding": "UTF-16",
      "i18n.logOutputEncoding": "ISO-8859-1",
      "commit.cleanup": "scissors",
      "commit.template": "/nonexistent",
      "core.abbrev": "4",
      "core.commentChar": "auto",
      "core.editor": "false",
      "sequence.editor": "false",
      "core.pager": "false",
      "core.fsmonitor": "/bin/false",
      "core.whitespace": "trailing-space,tab-in-indent",
      "apply.whitespace": "error",
      "index.version": "4",
      "column.ui": "always",
      "alias.commit": "!false",
      "alias.push": "!false",
      "remote.pushDefault": "nowhere",
      "branch.main.pushRemote": "nowhere",
      "branch.main.rebase": "interactive",
      "push.default": "nothing",
      "push.negotiate": "true",
      "remote.origin.push": "refs/heads/main:refs/heads/elsewhere",
      "remote.origin.fetch": "+refs/heads/none*:refs/remotes/none/*",
      "blame.ignoreRevsFile": "/nonexistent",
      "safe.bareRepository": "explicit",
      "gc.auto": "1",
    });
    await releases();
  });

  test("with an environment of which nothing is meant for the tool", slow, async () => {
    const given = {
      GIT_TRACE: "1",
      GIT_TRACE2_EVENT: "2",
      GIT_EDITOR: "false",
      GIT_SEQUENCE_EDITOR: "false",
      GIT_PAGER: "false",
      GIT_EXTERNAL_DIFF: "false",
      GIT_AUTHOR_DATE: "not a date",
      GIT_COMMITTER_DATE: "not a date",
      GIT_SHALLOW_FILE: "/nonexistent",
      GIT_NAMESPACE: "other",
      GIT_OBJECT_DIRECTORY: "/nonexistent",
      GIT_ATTR_SOURCE: "nothing",
      GIT_ICASE_PATHSPECS: "1",
      GIT_DEFAULT_HASH: "sha256",
      LC_ALL: "de_DE.UTF-8",
      LANGUAGE: "de",
      TZ: "Asia/Kathmandu",
    };
    for (const [name, value] of Object.entries(given)) vi.stubEnv(name, value);
    await releases();
  });

  test("with commits that are signed, and signatures shown", slow, async () => {
    const key = join(shop.directory, "key");
    await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    await configure({
      "gpg.format": "ssh",
      "user.signingKey": `${key}.pub`,
      "commit.gpgSign": "true",
      "log.showSignature": "true",
    });
    await clone.person("commit", "--quiet", "--allow-empty", "--message", "docs: signed");
    await releases();
    // Who wishes to sign has signed this too.
    expect(await shop.bare.run("cat-file", "commit", "main")).toContain("-----BEGIN SSH SIGNATURE-----");
  });

  test("with a checkout that holds a part of the files", slow, async () => {
    await clone.person("sparse-checkout", "set", "services");
    await releases();
    expect(existsSync(join(clone.directory, kustomization))).toBe(false);
  });

  sweep(["post-checkout", "pre-rebase"], 0)("with a hook %s that fails", async (hook) => {
    const tag = await clone.change("one\n");
    await shop.move();
    clone.hook(hook, "exit 1");
    expect((await release(clone.options({ push: true }))).outcome).toBe("pushed");
    expect(await shop.remote(kustomization)).toContain(tag);
  });

  test("from a hook, whose environment names another repository", slow, async () => {
    const other = await shop.clone("elsewhere");
    const before = await refs(other.git);
    const tag = await clone.change("one\n");
    vi.stubEnv("GIT_DIR", join(other.directory, ".git"));
    vi.stubEnv("GIT_WORK_TREE", other.directory);
    vi.stubEnv("GIT_INDEX_FILE", join(shop.directory, "index"));
    vi.stubEnv("GIT_PREFIX", "gitops/");
    vi.stubEnv("GIT_LITERAL_PATHSPECS", "1");
    await release(clone.options({ push: true }));
    expect(await shop.remote(kustomization)).toContain(tag);
    expect(clone.read(kustomization)).toContain(tag);
    expect(existsSync(join(shop.directory, "index"))).toBe(false);
    vi.unstubAllEnvs();
    expect(await refs(other.git)).toBe(before);
  });
});

test("a rollback with colours, a template and prose before each message goes back", slow, async () => {
  clone.write(".git/template", "ABC-\n");
  await configure({ "color.ui": "always", "commit.template": ".git/template", "commit.cleanup": "strip" });
  const one = await clone.change("one\n");
  await release(clone.options());
  await clone.change("two\n");
  await release(clone.options());
  expect((await rollback(clone.options())).message).toBe(`deploy(cart): ${one}`);
});

describe("sources that were rolled back are refused", () => {
  const habits: [string, Record<string, string>][] = [
    ["regular expressions", { "grep.patternType": "extended" }],
    ["no regular expressions", { "grep.patternType": "fixed" }],
    ["another sign between trailers", { "trailer.separators": "=" }],
    ["a comment that begins as the trailer does", { "core.commentChar": "R" }],
    ["messages in another encoding", { "i18n.logOutputEncoding": "UTF-16" }],
    ["other names of trailers", { "trailer.image.key": "Bild", "trailer.rolled-back.key": "Zurueck: " }],
    ["a command for a trailer", { "trailer.image.key": "Image: ", "trailer.image.command": "echo forged" }],
    ["a place for trailers", { "trailer.where": "start", "trailer.ifmissing": "doNothing" }],
  ];
  sweep(habits, 0)("with %s", async (_, settings) => {
    await clone.change("one\n");
    await release(clone.options());
    const two = await clone.change("two\n");
    await release(clone.options());
    await configure(settings);
    // The tool's own lines are no longer the last paragraph, and are put there.
    clone.hook("prepare-commit-msg", 'printf "\\n\\nA paragraph.\\n" >> "$1"');
    await rollback(clone.options());
    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
    expect(await lastRolledBack(clone.directory, "cart")).toBe(two);
  });
});

test("new files that status does not show are refused all the same", async () => {
  await configure({ "status.showUntrackedFiles": "no" });
  clone.write("services/cart/new.ts", "export {};\n");
  await expect(release(clone.options())).rejects.toThrow("services/cart/new.ts is not committed");
});

test("names of files are told as they are", async () => {
  await configure({ "core.quotePath": "true" });
  clone.write("services/cart/größe.ts", "export {};\n");
  await expect(release(clone.options())).rejects.toThrow("services/cart/größe.ts is not committed");
});

describe("no ref moves but those that are meant", () => {
  test("in a dry run with branches below HEAD that a rebase would take along", slow, async () => {
    await configure({ "rebase.updateRefs": "true" });
    await clone.change("one\n");
    await clone.person("branch", "stacked");
    await clone.change("two\n");
    await shop.move();
    await clone.person("fetch", "--quiet", "origin");
    const before = await refs(clone.git);
    await release(clone.options({ push: true, dryRun: true }));
    expect(await refs(clone.git)).toBe(before);
  });

  test("and tags stay on either side", slow, async () => {
    await configure({ "push.followTags": "true", "fetch.prune": "true", "fetch.pruneTags": "true" });
    await clone.change("one\n");
    await clone.person("tag", "--annotate", "--message", "mine", "mine");
    const tag = await clone.git.run("rev-parse", "mine");
    await release(clone.options({ push: true }));
    expect(await shop.bare.run("tag")).toBe("");
    expect(await clone.git.run("rev-parse", "mine")).toBe(tag);
  });
});

test("what is built has the bytes of the commit, not those of this checkout", slow, async () => {
  await configure({ "core.autocrlf": "true", "core.eol": "crlf" });
  clone.write(".git/info/attributes", "");
  writeFileSync(
    shop.builder,
    `#!/bin/sh\n[ "$1" = build ] && cat "$4/main.ts" > ${shop.directory}/built\nexit 0\n`,
  );
  chmodSync(shop.builder, 0o755);
  await clone.change("one\ntwo\n");
  await release(clone.options());
  expect(readFileSync(join(shop.directory, "built"), "utf8")).toBe("one\ntwo\n");
});

test("a repository is read where the environment names another", async () => {
  const other = await shop.clone("elsewhere");
  clone.write("only-here.txt", "x\n");
  vi.stubEnv("GIT_DIR", join(other.directory, ".git"));
  vi.stubEnv("GIT_WORK_TREE", other.directory);
  expect([...(await readRepository(clone.directory)).keys()]).toContain("only-here.txt");
});

test("what Git says of a failure is the message", async () => {
  await expect(new Git(clone.directory).run("rev-parse", "--verify", "nothing")).rejects.toMatchObject({
    message: "fatal: Needed a single revision",
    exitCode: 128,
  });
});

// The Git server's hooks run in its image, with the configuration and the environment that the server gives them.
test("no other file starts Git", async () => {
  const listed = await new Git(checkout).run("ls-files", "-z", "--", "lib", "tools", "bootstrap", "e2e");
  const files = listed
    .split("\0")
    .filter((file) => /^(lib|tools\/(src|bench|monitoring)|bootstrap\/\w+\/src|e2e)\/.*\.ts$/.test(file))
    // A test may be a person with a terminal.
    .filter((file) => !file.endsWith(".test.ts"));
  expect(files.length).toBeGreaterThan(80);
  const call =
    /(execa|exec|execSync|execFile|execFileSync|spawn|spawnSync|run|succeeds|lines|\$)\(\s*["'`]git\b|\bgit -C\b/;
  const found = files.filter((file) => call.test(readFileSync(join(checkout, file), "utf8")));
  expect(found).toEqual(["lib/git/git.ts"]);
});

describe("what only this clone pretends", () => {
  test("of the sources is not what is tagged", slow, async () => {
    await clone.change("one\n");
    const [now, before] = await Promise.all(
      ["HEAD", "HEAD~1"].map((commit) => clone.git.run("rev-parse", `${commit}:services/cart`)),
    );
    await clone.person("replace", now ?? "", before ?? "");
    await release(clone.options({ push: true }));
    expect(await shop.remote(kustomization)).toContain(`newTag: "${now?.slice(0, 12)}"`);
  });

  const pretences: [string, (commit: string) => Promise<unknown>][] = [
    ["a replaced commit", (commit) => clone.person("replace", "--graft", commit)],
    ["a graft", async (commit) => clone.write(".git/info/grafts", `${commit}\n`)],
  ];
  sweep(pretences, 0)("of the history by %s does not make it forget a rollback", async (_, pretend) => {
    await clone.change("one\n");
    await release(clone.options());
    const two = await clone.change("two\n");
    await release(clone.options());
    await rollback(clone.options());
    clone.write("notes.txt", "later\n");
    await pretend(await clone.commit("docs: later"));
    await expect(release(clone.options())).rejects.toThrow(`${two} was rolled back`);
  });
});
